"""Consumers take events from JetStream and let each have its effect once, whatever is delivered twice or out of order.

- An event is decoded before a transaction is opened; what cannot be read is set aside at once.
- The inbox row and the effect are one transaction; the broker is told afterwards. A lost acknowledgement is a
  redelivery, which the inbox ends. Order is not promised: who keeps a state compares `row_version`.
- What waits in one tenant goes into one transaction, a few events at a time; where any of them fails, or waits for a
  lock, none has happened and each is taken on its own. So a backlog costs less an event the longer it is.
- A handler that raises is tried again after 2, 4, 8 … seconds. At the eighth delivery, or at once for `Rejected`, the
  event becomes a dead letter, and the events behind it flow on.
- An event that comes too early (`NotYet`) is asked for again sooner and for longer.
- While the database is away an event in hand is kept and costs no delivery.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from structlog.contextvars import bound_contextvars

from libs.common.bus import BROKER_ERRORS, Bus
from libs.common.changes import Event
from libs.common.db import PLATFORM, Database, Table, TenantRow
from libs.common.envelopes import Envelope, open_envelope
from libs.common.events.subjects import events_of
from libs.common.failpoints import failpoint
from libs.common.metrics import CONSUMER_HANDLED, CONSUMER_SECONDS
from libs.common.scrub import scrub
from libs.common.traces import SpanKind, span

log = structlog.get_logger()

DELIVERIES = 8
"""Tries before an event is set aside: about four minutes."""

COROUTINES = 2
TOGETHER = 16
"""Events in one transaction at most: their locks are held as long as these take."""

FETCH = 2.0
"""Seconds that one pull lingers, and so the time to notice a broker that came back."""

_REST = 0.05  # seconds for those that wait behind the first; others may have taken them meanwhile

# On the driver, past SQLAlchemy's compiler: once for each event that this service ever takes.
_SEE = (
    "INSERT INTO inbox (tenant_id, consumer, event_id) SELECT $1, $2, unnest($3::uuid[]) ON CONFLICT DO NOTHING"
    " RETURNING event_id"
)
# Events come in any order, and so do the locks of several: whoever takes these gives way long before the database looks
# for a deadlock (after a second), so that no request is ever chosen as its victim.
_GIVE_WAY = "SET LOCAL lock_timeout = '200ms'"

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, ValueError)


class Rejected(Exception):
    """Raised by a handler for an event that no further try can help."""


class NotYet(Exception):
    """Raised by a handler for an event that came before what it builds on: it comes again after 0.4, 0.8, 1.6 …
    seconds, for some ten minutes, and is no failure until then.
    """


class Received[E: Event](msgspec.Struct, frozen=True):
    """An event as a handler gets it. row_version orders the events of one row."""

    id: UUID
    tenant_id: UUID
    time: datetime
    row_id: UUID
    row_version: int
    data: E
    traceparent: str | None


type Handler[E: Event] = Callable[[AsyncSession, Received[E]], Awaitable[None]]


class Subscription(msgspec.Struct, frozen=True):
    """A handler and the contract it wants; made by on()."""

    event: type[Event]
    handler: Handler[Any]


def on[E: Event](event: type[E], handler: Handler[E]) -> Subscription:
    """`on(InvitationIssued, mail_invitation)`: several handlers of one event share its transaction."""
    return Subscription(event, handler)


class Inbox(Table):
    """Events that have had their effect here. Kept longer than any outbox can send one again."""

    __tablename__ = "inbox"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    consumer: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeadLetter(TenantRow, Table):
    """An event that was set aside, once however often it came: to be tried again or dropped by a human."""

    __tablename__ = "dead_letters"

    consumer: Mapped[str]
    event_id: Mapped[UUID]
    subject: Mapped[str]
    raw: Mapped[bytes]
    error: Mapped[str]
    deliveries: Mapped[int]
    state: Mapped[str]


class Inlet:
    """What a service does with the events of one stream, knowing nothing of the broker."""

    def __init__(self, stream: str, subscriptions: Iterable[Subscription], database: Database) -> None:
        self.stream = stream
        self.database = database
        self._handlers: dict[str, list[Handler[Any]]] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Event]] = {}
        for subscription in subscriptions:
            name = subscription.event.type()
            self._handlers.setdefault(name, []).append(subscription.handler)
            self._decoders[name] = msgspec.json.Decoder(subscription.event)

    def read(self, body: bytes) -> Received[Event] | None:
        """None where nobody here listens to the type. Raises one of UNREADABLE for what no contract fits."""
        envelope = open_envelope(body)
        decoder = self._decoders.get(envelope.type)
        return _received(envelope, decoder.decode(envelope.data)) if decoder else None

    async def apply(self, event: Received[Event]) -> bool:
        """The effect and the inbox row in one transaction. False: it was here before."""
        async with self.database.session(event.tenant_id) as session:
            return bool(await self._apply(session, [event]))

    async def apply_together(self, events: Sequence[Received[Event]]) -> set[UUID]:
        """Several of one tenant in one transaction, in their order; the ids of those that were not here before.

        Raises what the first that fails raises, or a lock that is not free soon; then none of them has happened.
        """
        async with self.database.session(events[0].tenant_id) as session:
            await (await session.connection()).exec_driver_sql(_GIVE_WAY)
            return await self._apply(session, events)

    async def _apply(self, session: AsyncSession, events: Sequence[Received[Event]]) -> set[UUID]:
        connection = await session.connection()
        by_id = {event.id: event for event in events}
        seen = await connection.exec_driver_sql(_SEE, (events[0].tenant_id, self.stream, list(by_id)))
        new = set(seen.scalars())
        for event in by_id.values():
            if event.id in new:
                type = event.data.type()
                with (
                    span(f"consume {type}", event.traceparent, kind=SpanKind.CONSUMER, event_id=event.id),
                    bound_contextvars(tenant_id=str(event.tenant_id), event_id=str(event.id)),
                ):
                    for handler in self._handlers[type]:
                        await handler(session, event)
                if len(by_id) > 1:  # no handler sees what another has read before it had the lock
                    await session.flush()
                    session.expunge_all()
        return new

    async def set_aside(self, subject: str, body: bytes, deliveries: int, error: Exception) -> None:
        tenant_id, event_id = _whose(subject, body)
        said = {"error": scrub(f"{type(error).__name__}: {error}")[:1000], "deliveries": deliveries, "state": "open"}
        about = {"tenant_id": tenant_id, "consumer": self.stream, "event_id": event_id, "subject": subject, "raw": body}
        async with self.database.session(tenant_id) as session:
            await session.execute(
                insert(DeadLetter)
                .values(about | said)
                .on_conflict_do_update(constraint="uq_dead_letters_tenant_id_consumer_event_id", set_=said)
            )


class Consumer:
    """Pulls one stream for one service: run() until stop(), by coroutines that each have a few events in hand."""

    def __init__(self, service: str, inlet: Inlet, bus: Bus, *, coroutines: int = COROUTINES) -> None:
        self.service = service
        self.inlet = inlet
        self.bus = bus
        self.coroutines = coroutines
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.coroutines):
                group.create_task(self._pull())

    def stop(self) -> None:
        """What is in hand is finished, nothing new taken."""
        self._stopping.set()

    async def _pull(self) -> None:
        subscription = await self.bus.pull(self.inlet.stream)
        while not self._stopping.is_set():
            try:
                messages = await self._fetch(subscription)
            except TimeoutError:  # nothing there; nats-py raises the builtin one, too
                await asyncio.sleep(0)
            except BROKER_ERRORS:  # without a pause the connection would never get its turn
                await asyncio.sleep(random.uniform(0.1, 0.3))  # noqa: S311
            else:
                await self._take(messages)
        with contextlib.suppress(*BROKER_ERRORS):
            await subscription.unsubscribe()

    async def _fetch(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        """The next one as soon as it comes, with what waits behind it."""
        [first] = await subscription.fetch(1, timeout=FETCH)
        behind = min(first.metadata.num_pending or 0, TOGETHER - 1)
        if not behind:
            return [first]
        try:
            return [first, *await subscription.fetch(behind, timeout=_REST)]
        except BROKER_ERRORS:
            return [first]

    async def _take(self, messages: Sequence[Msg]) -> None:
        """Deliveries to their end. Raises nothing: a broker that is away just delivers again."""
        with contextlib.suppress(*BROKER_ERRORS):
            async with self._in_hand(messages):
                for message in await self._take_together(messages):
                    with CONSUMER_SECONDS.labels(self.inlet.stream).time():
                        outcome = await self._handle(message)
                    CONSUMER_HANDLED.labels(self.inlet.stream, outcome).inc()

    async def _take_together(self, messages: Sequence[Msg]) -> list[Msg]:
        """Gives those that are still to be taken one by one: what failed before, and what stands alone."""
        alone: list[Msg] = []
        by_tenant: dict[UUID, list[tuple[Msg, Received[Event]]]] = {}
        for message in messages:
            event = self._readable(message) if message.metadata.num_delivered == 1 else None
            if event is None:
                alone.append(message)
            else:
                by_tenant.setdefault(event.tenant_id, []).append((message, event))
        for pairs in by_tenant.values():
            if len(pairs) == 1 or not await self._apply_together(pairs):
                alone.extend(message for message, _ in pairs)
        return alone

    def _readable(self, message: Msg) -> Received[Event] | None:
        try:
            return self.inlet.read(message.data)
        except UNREADABLE:
            return None

    async def _apply_together(self, pairs: Sequence[tuple[Msg, Received[Event]]]) -> bool:
        """False: take them one by one; what was committed all the same is seen then."""
        started = time.monotonic()
        try:
            new = await self.inlet.apply_together([event for _, event in pairs])
        except Exception as error:
            log.debug("events_taken_one_by_one", stream=self.inlet.stream, error=type(error).__name__)
            return False
        failpoint("after_effect_before_ack")
        for message, event in pairs:
            CONSUMER_SECONDS.labels(self.inlet.stream).observe(time.monotonic() - started)
            CONSUMER_HANDLED.labels(self.inlet.stream, "done" if event.id in new else "seen").inc()
            await message.ack()
        return True

    async def _handle(self, message: Msg) -> str:
        deliveries = message.metadata.num_delivered
        try:
            event = self.inlet.read(message.data)
        except UNREADABLE as error:
            return await self._set_aside(message, error)
        if event is None:
            await message.ack()
            return "ignored"
        try:
            applied = await self._apply(event)
        except Exception as error:
            if isinstance(error, NotYet) and deliveries < 2 * DELIVERIES:
                await message.nak(delay=min(0.2 * 2**deliveries, 60))
                return "early"
            if isinstance(error, Rejected) or deliveries >= DELIVERIES:
                return await self._set_aside(message, error)
            log.warning(
                "event_failed",
                stream=self.inlet.stream,
                tenant_id=str(event.tenant_id),
                event_id=str(event.id),
                deliveries=deliveries,
                exc_info=True,
            )
            await message.nak(delay=pause_after(deliveries))
            return "retried"
        failpoint("after_effect_before_ack")
        await message.ack()
        return "done" if applied else "seen"

    async def _apply(self, event: Received[Event]) -> bool:
        while True:
            try:
                return await self.inlet.apply(event)
            except Exception as error:
                if not is_away(error) or self._stopping.is_set():
                    raise
                log.warning("database_away", stream=self.inlet.stream, event_id=str(event.id), error=str(error))
                await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311

    async def _set_aside(self, message: Msg, error: Exception) -> str:
        log.error("event_set_aside", stream=self.inlet.stream, subject=message.subject, error=str(error))
        try:
            await self.inlet.set_aside(message.subject, message.data, message.metadata.num_delivered, error)
        except Exception:
            log.exception("dead_letter_not_written", stream=self.inlet.stream, subject=message.subject)
            await message.nak(delay=pause_after(message.metadata.num_delivered))
            return "retried"
        failpoint("after_dead_letter_before_term")
        await message.term()
        return "dead"

    @contextlib.asynccontextmanager
    async def _in_hand(self, messages: Sequence[Msg]) -> AsyncIterator[None]:
        """Tell the broker now and then that these are still being worked on."""

        async def remind() -> None:
            while True:
                await asyncio.sleep(self.bus.sizes.ack_wait / 3)
                for message in messages:
                    with contextlib.suppress(*BROKER_ERRORS):
                        await message.in_progress()

        reminding = asyncio.create_task(remind())
        try:
            yield
        finally:
            reminding.cancel()


def inlets(subscriptions: Sequence[Subscription], database: Database) -> list[Inlet]:
    """One for each stream that the subscriptions come from."""
    by_stream: dict[str, list[Subscription]] = {}
    for subscription in subscriptions:
        by_stream.setdefault(events_of(subscription.event.type().split(".")[0]), []).append(subscription)
    return [Inlet(stream, of_stream, database) for stream, of_stream in sorted(by_stream.items())]


def pause_after(deliveries: int) -> float:
    """2, 4, 8 … 300 seconds ± 20 %, so that what failed together does not come back together."""
    return min(2.0**deliveries, 300.0) * random.uniform(0.8, 1.2)  # noqa: S311


def is_away(error: Exception) -> bool:
    """True where the database cannot be reached, is starting or has no connection free: not the event's fault."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return error.connection_invalidated or state.startswith(("08", "57P"))
    return isinstance(error, ConnectionError | PoolTimeout)


def _received(envelope: Envelope, data: Event) -> Received[Event]:
    return Received(
        id=envelope.id,
        tenant_id=envelope.tenantid,
        time=envelope.time,
        row_id=envelope.subject,
        row_version=envelope.rowversion,
        data=data,
        traceparent=envelope.traceparent,
    )


def _whose(subject: str, body: bytes) -> tuple[UUID, UUID]:
    """Tenant and id of an event that may not even be an envelope; a repetition gives the same."""
    try:
        envelope = open_envelope(body)
    except UNREADABLE:
        return PLATFORM, uuid5(NAMESPACE_OID, f"{subject} {body.hex()}")
    return envelope.tenantid, envelope.id
