"""Sends what waits: a few connections to the relay, each with one mail in hand.

The order of a try: the relay has said yes to MAIL; the message is claimed and the attempt committed; only then RCPT and
DATA; the answer is committed while the lane goes on. So a relay that is away costs nobody an attempt, a worker killed
anywhere loses nothing, and only between DATA and the commit of its answer can a mail go out twice.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from libs.common.consumers import is_away
from libs.common.db import Database
from libs.common.db import now as wall_clock
from libs.common.failpoints import failpoint
from libs.common.keys import KeyRing
from libs.common.metrics import MAIL_ATTEMPTS
from services.notifier.bounces.verp import return_path
from services.notifier.messages.circuit import Circuit
from services.notifier.messages.claims import Claim, claim_all
from services.notifier.messages.clerk import Clerk
from services.notifier.messages.house import House
from services.notifier.messages.queue import next_due
from services.notifier.messages.replies import Reply
from services.notifier.messages.results import Result, conclude_all
from services.notifier.messages.smtp import AnswerLost, Connection, Relay, RelayAway, is_about_relay
from services.notifier.messages.tables import Message

log = structlog.get_logger()

_ROUND = 200  # messages looked up at once
_IDLE = 10.0  # seconds without mail after which a connection is closed
_DATABASE_PAUSE = 0.5
_MISTAKE_PAUSE = timedelta(minutes=10)


class Sender:
    """run() until stop(). bounces: keys and domain of the return paths."""

    def __init__(
        self,
        database: Database,
        sweeper: AsyncEngine,
        relay: Relay,
        house: House,
        bounces: tuple[KeyRing, str],
        *,
        connections: int = 6,
        lease: timedelta = timedelta(seconds=60),
        poll: float = 0.5,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._database, self._sweeper, self._relay, self._house = database, sweeper, relay, house
        self._bounces, self._connections, self._lease, self._poll, self._clock = (
            bounces,
            connections,
            lease,
            poll,
            clock,
        )
        self.circuit = Circuit()
        self._clerk: Clerk[UUID | Result, Claim | None] = Clerk(database, self._write)
        self._upcoming: deque[tuple[UUID, UUID]] = deque()
        self._in_hand: set[UUID] = set()
        self._noting: dict[UUID, asyncio.Task[None]] = {}  # by message
        self._looking = asyncio.Lock()
        self._woken = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        async with self._clerk.at_work():
            async with asyncio.TaskGroup() as group:
                for number in range(self._connections):
                    group.create_task(self._lane(), name=f"mail lane {number}")
            await asyncio.gather(*self._noting.values())

    def stop(self) -> None:
        """What is in hand is finished, nothing new begun."""
        self._stopping = True
        self._woken.set()

    def wake(self) -> None:
        """Something was queued: look at once."""
        self._woken.set()

    async def send_due(self) -> int:
        """Everything that is due now, one after the other; gives the number of mails tried. For tests and by hand."""
        tried = 0
        connection: Connection | None = None
        async with self._clerk.at_work():
            try:
                while due := await next_due(self._sweeper, self._clock(), _ROUND):
                    for tenant_id, id in due:
                        connection = await self._send(tenant_id, id, connection)
                        await asyncio.gather(*self._noting.values())
                        tried += 1
                        if self.circuit.is_open:
                            return tried
                return tried
            finally:
                if connection:
                    await connection.close()

    async def _lane(self) -> None:
        connection: Connection | None = None
        try:
            while not self._stopping:
                connection = await self._step(connection)
        finally:
            if connection:
                await connection.close()

    async def _step(self, connection: Connection | None) -> Connection | None:
        """One mail, or a while without any; the connection for the next step. Whatever fails, other lanes go on."""
        found: tuple[UUID, UUID] | None = None
        try:
            found = await self._next()
            if found is None:
                if connection:
                    await connection.close()
                return None
            self._in_hand.add(found[1])
            await self.circuit.enter(lambda: self._stopping)
            return connection if self._stopping else await self._send(*found, connection)
        except (SQLAlchemyError, OSError) as error:
            # The database is away. An attempt that was begun keeps its lease, which runs out.
            log.warning("mail_not_taken", error=type(error).__name__)
            await asyncio.sleep(_DATABASE_PAUSE)
        except Exception:
            log.exception("mail_failed", message_id=str(found and found[1]))
            if found:
                await self._postpone(*found)
        finally:
            if found:
                self._in_hand.discard(found[1])
        return None

    async def _postpone(self, tenant_id: UUID, id: UUID) -> None:
        """A mail that our own mistake keeps from being sent must not keep the others."""
        with contextlib.suppress(SQLAlchemyError, OSError):
            async with self._database.session(tenant_id) as session:
                later = self._clock() + _MISTAKE_PAUSE
                await session.execute(update(Message).where(Message.id == id).values(due_at=later))

    async def _next(self) -> tuple[UUID, UUID] | None:
        """Tenant and id of the next that is due; None where there was nothing to do for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE), self._looking:
                while not self._upcoming and not self._stopping:
                    self._woken.clear()
                    if not self.circuit.pause_left():
                        found = await next_due(self._sweeper, self._clock(), _ROUND)
                        self._upcoming.extend(one for one in found if one[1] not in {*self._in_hand, *self._noting})
                    if not self._upcoming:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self._woken.wait(), self._poll)
                return self._upcoming.popleft() if self._upcoming else None
        return None

    async def _send(self, tenant_id: UUID, id: UUID, connection: Connection | None) -> Connection | None:
        """One mail, if it is still to be sent. Gives the connection for the next, or None where it is broken."""
        try:
            connection = await self._begin(tenant_id, id, connection)
        except RelayAway as error:
            self.circuit.failed(str(error))
            return None
        try:
            claimed = await self._clerk.ask(tenant_id, id)
            if claimed is None:
                self.circuit.worked()
                await connection.reset()
                return connection
            failpoint("after_attempt_before_smtp")
            async with self._leased(claimed):
                return await self._hand_over(claimed, connection)
        except BaseException:
            connection.drop()
            raise

    async def _begin(self, tenant_id: UUID, id: UUID, connection: Connection | None) -> Connection:
        """The relay is there and takes mail from us. One that has hung up on an idle connection is asked again."""
        path = return_path(self._bounces[0], tenant_id, id, self._bounces[1])
        if connection is not None:
            with contextlib.suppress(RelayAway):
                await connection.begin(path, str(id))
                return connection
            await connection.close()
        connection = await self._relay.connect()
        try:
            await connection.begin(path, str(id))
        except RelayAway:
            await connection.close()
            raise
        return connection

    async def _hand_over(self, claimed: Claim, connection: Connection) -> Connection | None:
        still: Connection | None = connection
        try:
            reply = await connection.hand_over(claimed.recipient, claimed.content)
            failpoint("after_smtp_before_result")
        except RelayAway as error:
            self.circuit.failed(str(error))
            retry_at = self._clock() + timedelta(seconds=self.circuit.pause_left())
            why = Reply(0, str(error))
            result = Result(claim=claimed, reply=why, at=self._clock(), answered=False, retry_at=retry_at)
            still = None
        except AnswerLost as error:
            result = Result(claim=claimed, reply=Reply(0, str(error)), at=self._clock(), answered=False)
            still = None
        else:
            result = Result(claim=claimed, reply=reply, at=self._clock())
            if is_about_relay(reply):
                self.circuit.refused(reply.text)
            else:
                self.circuit.worked()
        if still is None:
            await connection.close()
        self._note(result)
        return still

    def _note(self, result: Result) -> None:
        """The lane goes on to its next mail meanwhile, so that answers and claims gather with the clerk."""
        message_id = result.claim.message_id
        self._noting[message_id] = asyncio.create_task(self._write_down(result))
        self._noting[message_id].add_done_callback(lambda _: self._noting.pop(message_id, None))

    async def _write_down(self, result: Result) -> None:
        """An answer that was heard is not forgotten because the database is away for a moment."""
        while True:
            try:
                await self._clerk.ask(result.claim.tenant_id, result)
            except Exception as error:
                if is_away(error) or isinstance(error, OSError):
                    await asyncio.sleep(_DATABASE_PAUSE)
                    continue
                log.exception("mail_not_noted", message_id=str(result.claim.message_id))  # its lease will run out
            else:
                MAIL_ATTEMPTS.labels(result.outcome).inc()
                log.info("mail_tried", message_id=str(result.claim.message_id), outcome=result.outcome)
            return

    async def _write(self, session: AsyncSession, requests: Sequence[UUID | Result]) -> list[Claim | None]:
        """For the clerk: results are written down, ids are claimed."""
        results = [request for request in requests if isinstance(request, Result)]
        ids = [request for request in requests if isinstance(request, UUID)]
        claims: dict[UUID, Claim] = {}
        if results:
            await conclude_all(session, results)
        if ids:
            claims = await claim_all(session, ids, now=self._clock(), lease=self._lease, house=self._house)
            failpoint("after_attempt_before_commit")
        return [claims.get(request) if isinstance(request, UUID) else None for request in requests]

    @contextlib.asynccontextmanager
    async def _leased(self, claimed: Claim) -> AsyncIterator[None]:
        """Keep the lease while a slow server makes up its mind."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self._lease.total_seconds() / 3)
                mine = (Message.id == claimed.message_id) & (Message.attempt_id == claimed.attempt_id)
                with contextlib.suppress(SQLAlchemyError, OSError):
                    async with self._database.session(claimed.tenant_id) as session:
                        await session.execute(
                            update(Message)
                            .where(mine, Message.state == "sending")
                            .values(due_at=self._clock() + self._lease)
                        )

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
