"""python -m libs.common.stack.catcher FOLDER SMTP_PORT PAGE_PORT"""

import asyncio
import signal
import sys
import threading
import warnings
from pathlib import Path

from libs.common.stack.catcher.behaviour import Behaviour
from libs.common.stack.catcher.mailbox import Mailbox
from libs.common.stack.catcher.page import make_server
from libs.common.stack.catcher.smtp import Hooks, Server

HOST = "127.0.0.1"


async def main(folder: Path, smtp_port: int, page_port: int) -> None:
    mailbox, behaviour = Mailbox(folder), Behaviour()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    hooks = Hooks(mailbox, behaviour)
    await loop.create_server(lambda: Server(hooks, loop=loop), HOST, smtp_port, backlog=1000)
    page = make_server((HOST, page_port), mailbox, behaviour)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    await stop.wait()


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # aiosmtpd's own
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
