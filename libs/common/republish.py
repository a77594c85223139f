"""Send again what the outbox still holds: after a stream was lost, or a consumer's state is in doubt.

The stream grows, effects do not: each event keeps its id, and the inboxes know it. Only the broker's own memory of ids
is passed by, because somebody who asks for a republish wants it to happen.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from libs.common.bus import Bus
from libs.common.db import open_engine
from libs.common.events.subjects import stream_of
from libs.common.relay import Row, waves

_SELECT = text(
    "SELECT partition, tenant_id, id, created_at, row_id, row_version, type, subject, data::text AS data, traceparent"
    " FROM outbox"
    " WHERE created_at >= :since AND created_at < :until AND published_at IS NOT NULL AND subject LIKE 'ev.%'"
    " AND (CAST(:tenant AS uuid) IS NULL OR tenant_id = :tenant) AND (CAST(:type AS varchar) IS NULL OR type = :type)"
    " ORDER BY sequence"
)
_PAGE = 200


async def republish(
    service: str,
    relay_url: str,
    bus: Bus,
    *,
    since: datetime,
    until: datetime,
    tenant: UUID | None = None,
    type: str | None = None,
    progress: Callable[[int], None] = lambda sent: None,
) -> int:
    """Gives the number of events sent. Raises one of BROKER_ERRORS at the first that was not; run it again then."""
    run, sent = f"{time.time_ns():x}", 0
    engine = open_engine(relay_url)
    try:
        async with engine.connect() as connection:
            found = await connection.stream(_SELECT, {"since": since, "until": until, "tenant": tenant, "type": type})
            async for page in found.partitions(_PAGE):
                for wave in waves([Row(*row) for row in page]):
                    await asyncio.gather(
                        *(
                            bus.publish(stream_of(row.subject), row.subject, row.body(service), id=f"{row.id}/{run}")
                            for row in wave
                        )
                    )
                    sent += len(wave)
                    progress(sent)
    finally:
        await engine.dispose()
    return sent
