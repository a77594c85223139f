"""The worker's beat: shows identity that what members writes does arrive (design section 6)."""

import time
from types import SimpleNamespace
from uuid import UUID

import msgspec

from libs.common.changes import send
from libs.common.db import PLATFORM, Database, now
from libs.common.events.members import WorkerBeat
from libs.common.events.subjects import event_subject
from libs.common.worker import Task, Worker

EVERY = 10.0
_WORKER = SimpleNamespace(tenant_id=PLATFORM, id=UUID(int=1))


async def beat(database: Database) -> None:
    """Through the outbox, so that a relay or a broker that is away holds it back like everything else."""
    event = WorkerBeat(now())
    async with database.session(PLATFORM) as session:
        subject = event_subject(event.type(), PLATFORM, _WORKER.id)
        send(session, _WORKER, event.type(), subject, msgspec.to_builtins(event), version=int(time.time()))


async def _run(worker: Worker) -> None:
    while not worker.stopping.is_set():
        await beat(worker.database)
        await worker.pause(EVERY)


TASK = Task("beat", _run)
