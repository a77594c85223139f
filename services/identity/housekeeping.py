"""What nobody needs any more is cleared away: counters, devices not seen for long, sessions and links long over."""

from typing import Final

import structlog
from sqlalchemy import text

from libs.common.db import PLATFORM, Database
from libs.common.worker import Task, Worker

_log = structlog.get_logger()
_EVERY = 3600.0

RETENTION: Final = {
    "attempts": "greatest(last_at, wait_until) < now() - interval '1 day'",
    "known_devices": "last_at < now() - interval '90 days'",
    "sessions": "ends_at < now() - interval '1 day'",
    "operator_sessions": "ends_at < now() - interval '1 day'",
    "password_resets": "deadline < now() - interval '30 days'",
}


async def clear(database: Database) -> dict[str, int]:
    """Global tables only; gives the number of rows by table."""
    gone = {}
    for table, past in RETENTION.items():
        async with database.session(PLATFORM) as session:
            found = await session.execute(text(f"DELETE FROM {table} WHERE {past} RETURNING 1"))  # noqa: S608 our words
            gone[table] = len(found.all())
    return gone


async def _run(worker: Worker) -> None:
    while not worker.stopping.is_set():
        _log.info("cleared", **await clear(worker.database))
        await worker.pause(_EVERY)


task = Task("clear identity's own", _run)
