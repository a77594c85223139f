"""What waits to be sent: security mail first, then by turns between the tenants, of each the oldest first."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.limits.rules import read_switch

# The lanes (priority, tenant) that hold anything are found by jumping along the index, so that a tenant with a million
# waiting mails costs as much as one with two. Of each lane only as many are read as could be taken in one round.
_NEXT = text("""
WITH RECURSIVE lanes AS (
    (SELECT priority, tenant_id FROM messages WHERE due_at IS NOT NULL ORDER BY priority, tenant_id LIMIT 1)
    UNION ALL
    SELECT next.priority, next.tenant_id FROM lanes CROSS JOIN LATERAL (
        SELECT priority, tenant_id FROM messages
        WHERE due_at IS NOT NULL AND (priority, tenant_id) > (lanes.priority, lanes.tenant_id)
        ORDER BY priority, tenant_id LIMIT 1
    ) AS next
)
SELECT waiting.tenant_id, waiting.id FROM lanes CROSS JOIN LATERAL (
    SELECT tenant_id, id, due_at, row_number() OVER (ORDER BY due_at) AS turn FROM messages
    WHERE priority = lanes.priority AND tenant_id = lanes.tenant_id AND due_at <= :now
    ORDER BY due_at LIMIT :size
) AS waiting
ORDER BY lanes.priority, waiting.turn, waiting.due_at LIMIT :size
""")


async def next_due(engine: AsyncEngine, now: datetime, size: int) -> list[tuple[UUID, UUID]]:
    """Tenant and id; none while operators have paused all mail. engine: of the sweep role; what is found is asked
    again in its tenant before it is sent.
    """
    async with engine.connect() as connection:
        if (await read_switch(connection)).paused_at is not None:
            return []
        found = await connection.execute(_NEXT, {"now": now, "size": size})
        return [(row.tenant_id, row.id) for row in found]
