"""Words for stories about events that are delivered: as the relay would send them, and when all is done."""

import json
import uuid
from datetime import UTC, datetime

from tests.common.rig import Happened, Rig


def envelope(tenant: uuid.UUID, row_id: uuid.UUID, version: int = 1, **other: object) -> bytes:
    about: dict[str, object] = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "type": Happened.name,
        "source": "/members",
        "subject": str(row_id),
        "time": datetime.now(UTC).isoformat(),
        "tenantid": str(tenant),
        "rowversion": version,
        "data": {"n": version},
    }
    return json.dumps(about | other).encode()


def subject_of(tenant: uuid.UUID, row_id: uuid.UUID) -> str:
    return f"ev.members.thing.{tenant}.{row_id}"


async def had(rig: Rig, number: int) -> bool:
    return len(await rig.effects()) >= number


async def lag(rig: Rig) -> int:
    platform = await rig.bus("platform")
    info = await platform.js.consumer_info("EV_MEMBERS", "identity")
    await platform.close()
    return int(info.num_pending + info.num_ack_pending)


async def quiet(rig: Rig) -> bool:
    return await lag(rig) == 0
