"""No token is minted while a revocation could not be delivered (design section 6): the newest beat of members that came
in, and the newest of our own that went out on the stream of revocations, are at most 30 seconds old.
"""

import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import Outbox, send
from libs.common.db import PLATFORM, Database, now
from libs.common.errors import Unavailable
from libs.common.events.members import WorkerBeat
from libs.common.inlets import Received, on
from libs.common.worker import Task, Worker
from services.identity.beats.tables import Beat

EVERY: Final = 10.0
OLDEST: Final = timedelta(seconds=30)
MEMBERS: Final = "members"
OURS: Final = "revoked.beat"
_WORKER = SimpleNamespace(tenant_id=PLATFORM, id=UUID(int=2))


class RevocationsDelayed(Unavailable):
    title = "Revocations are not being delivered; no token is given until they are"


async def require_beats(session: AsyncSession) -> None:
    """In tenant zero. Raises RevocationsDelayed."""
    since = now() - OLDEST
    came_in = await session.scalar(select(Beat.at).where(Beat.service == MEMBERS))
    went_out = select(func.max(Outbox.published_at)).where(Outbox.created_at > since, Outbox.type == OURS)
    sent = await session.scalar(went_out) if came_in is not None and came_in > since else None
    if sent is None or sent <= since:
        raise RevocationsDelayed(retry_after=5)


async def take_beat(session: AsyncSession, event: Received[WorkerBeat]) -> None:
    beat = insert(Beat).values(service=MEMBERS, at=event.data.at)
    newer = {"at": func.greatest(Beat.at, beat.excluded.at)}
    await session.execute(beat.on_conflict_do_update(index_elements=["service"], set_=newer))


async def beat(database: Database) -> None:
    """Through the outbox and the relay, like any revocation."""
    async with database.session(PLATFORM) as session:
        send(session, _WORKER, OURS, f"{OURS}.identity", {}, version=int(time.time()))


async def _run(worker: Worker) -> None:
    while not worker.stopping.is_set():
        await beat(worker.database)
        await worker.pause(EVERY)


handlers = [on(WorkerBeat, take_beat)]
task = Task("beat", _run)
