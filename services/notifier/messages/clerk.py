"""Writes for all lanes of a sender: what waits for one tenant goes into one transaction, answers first, then claims.

While a transaction runs the next requests gather, so that the busier it is the less each costs. Where one request
breaks its transaction, each of it is tried on its own, and only the one that is broken hears of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import Database

type Handle[Q, A] = Callable[[AsyncSession, Sequence[Q]], Awaitable[Sequence[A]]]

_MOST = 50  # requests in one transaction


class Clerk[Q, A]:
    """handle: gives an answer for each request, in their order; called within a transaction of their tenant."""

    def __init__(self, database: Database, handle: Handle[Q, A], *, hands: int = 1) -> None:
        self._database, self._handle, self._hands = database, handle, hands
        self._waiting: dict[UUID, list[tuple[Q, asyncio.Future[A]]]] = {}
        self._woken = asyncio.Event()

    async def ask(self, tenant_id: UUID, request: Q) -> A:
        """The answer, once it is committed. Raises what the transaction raised."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, []).append((request, answer))
        self._woken.set()
        return await answer

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        hands = [asyncio.create_task(self._work()) for _ in range(self._hands)]
        try:
            yield
        finally:
            for hand in hands:
                hand.cancel()
            await asyncio.gather(*hands, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._woken.wait()
            if not self._waiting:
                self._woken.clear()
                continue
            tenant_id = next(iter(self._waiting))  # who has waited longest
            waiting = self._waiting.pop(tenant_id)
            if len(waiting) > _MOST:
                self._waiting[tenant_id] = waiting[_MOST:]
            await self._do(tenant_id, waiting[:_MOST])

    async def _do(self, tenant_id: UUID, slips: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            async with self._database.session(tenant_id) as session:
                answers = await self._handle(session, [request for request, _ in slips])
        except Exception as error:
            if len(slips) > 1:
                for slip in slips:
                    await self._do(tenant_id, [slip])
            else:
                _settle(slips[0][1], error)
        else:
            for (_, future), answer in zip(slips, answers, strict=True):
                _settle(future, answer)


def _settle(future: asyncio.Future[Any], what: object) -> None:
    """Nobody may be waiting any more."""
    if not future.done():
        future.set_exception(what) if isinstance(what, Exception) else future.set_result(what)
