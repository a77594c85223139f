"""What a worker clears away: an outbox is kept 14 days to be sent again, an inbox longer than any outbox can send."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_BATCH = 2000

RETENTION: Final = {
    "outbox": "created_at < now() - interval '14 days' AND published_at < now() - interval '14 days'",
    "inbox": "received_at < now() - interval '21 days'",
    "idempotency_keys": "created_at < now() - interval '24 hours'",
}


async def clear(engine: AsyncEngine) -> dict[str, int]:
    """Delete what is past its time, as the relay role, in short transactions; gives the number of rows by table."""
    gone = dict.fromkeys(RETENTION, 0)
    for table, past in RETENTION.items():
        found = f"SELECT ctid FROM {table} WHERE {past} LIMIT {_BATCH}"  # noqa: S608 our own words
        while True:
            async with engine.begin() as connection:
                rows = (await connection.execute(text(f"DELETE FROM {table} WHERE ctid IN ({found})"))).rowcount  # noqa: S608
            gone[table] += rows
            if rows < _BATCH:
                break
    return gone
