"""`python -m tests.common.event_process SERVICE ACK_WAIT`: a worker as `control-centre work` runs it, for the rig."""

import asyncio
import os
import sys

from libs.common import failpoints
from libs.common.bus import Sizes
from libs.common.inlets import on
from libs.common.settings import Settings, load
from libs.common.worker import Worker, run_until_signalled
from tests.common.rig import Happened, keep


async def main(service: str, ack_wait: float) -> None:
    settings = load(Settings)
    worker = Worker(service, settings, handlers=[on(Happened, keep)] if service == "identity" else [])
    worker.bus.sizes = Sizes(settings.nats_replicas, settings.nats_stream_bytes, ack_wait)
    await run_until_signalled(worker)


if __name__ == "__main__":
    failpoints.arm_from(os.environ)
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
