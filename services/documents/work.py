"""Work that falls due and takes the store: like a sweep, but no transaction is open while files are read or deleted."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.worker import Task, Worker
from services.documents.edges import Edges

_AT_ONCE = 4
_BATCH = 200
_EVERY = 1.0
_log = structlog.get_logger()

type Act = Callable[[Edges, UUID, UUID], Awaitable[None]]


def task(name: str, due: Select[UUID, UUID], act: Act, edges_of: Callable[[Worker], Edges]) -> Task:
    """due selects tenant and id; act claims what it does, so that any number of workers may run."""

    async def run(worker: Worker) -> None:
        while not worker.stopping.is_set():
            if await work_once(due, act, edges_of(worker), worker.sweeper, worker.stopping.is_set) < _BATCH:
                await worker.pause(_EVERY)

    return Task(name, run)


async def work_once(
    due: Select[UUID, UUID], act: Act, edges: Edges, sweeper: AsyncEngine, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Gives the number that were found and done. One that fails is logged and left for the next time."""
    async with sweeper.connect() as connection:
        found = (await connection.execute(due.limit(_BATCH))).all()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(tenant_id: UUID, id: UUID) -> bool:
        async with gate:
            if stopping():
                return False
            try:
                await act(edges, tenant_id, id)
            except Exception as error:
                _log.warning("work_failed", act=act.__name__, id=str(id), error=type(error).__name__, exc_info=True)
                return False
            return True

    return sum(await asyncio.gather(*(one(*hit) for hit in found)))
