"""Sweeps find by the clock what no event announces (deadlines, dates), in every tenant, without a right to read them.

The sweep role sees tenant, id, state and due time of named tables, no more. Each hit is then done in a transaction of
its own, in its tenant, as the app role; there the function looks again, because the world may have moved on.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from libs.common.db import Database

log = structlog.get_logger()

BATCH = 500


class Sweep(msgspec.Struct, frozen=True):
    """`due` selects tenant and id; `act` is called for each with a session in the tenant, and must check again."""

    name: str
    due: Select[UUID, UUID]
    act: Callable[[AsyncSession, UUID, UUID], Awaitable[None]]
    every: float = 30
    """Seconds between two looks."""


async def sweep_once(
    sweep: Sweep, database: Database, sweeper: AsyncEngine, *, stopping: Callable[[], bool] = lambda: False
) -> tuple[int, int]:
    """How many were found and how many of these were done. One that fails is logged and left for the next time."""
    async with sweeper.connect() as connection:
        hits = (await connection.execute(sweep.due.limit(BATCH))).all()
    done = 0
    for tenant_id, id in hits:
        if stopping():
            break
        try:
            async with database.session(tenant_id) as session:
                await sweep.act(session, tenant_id, id)
            done += 1
        except Exception:
            log.exception("sweep_failed", sweep=sweep.name, tenant_id=str(tenant_id), id=str(id))
    return len(hits), done
