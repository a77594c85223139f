"""What a service does with the events of a stream: each has its effect once, alone or with others in a transaction.

- The inbox row and the effect are one transaction: what is delivered twice is seen.
- Several events of a tenant share one; where any of them fails none has happened, and whoever brought them takes each
  on its own. They are done, or have given way to who locks in another order, before the database looks for a deadlock.
- A handler for events of which thousands come at once asks for those that came together (`on_all`), so that it can read
  and write the rows of all of them at once.
- What an error wants kept in a request is not kept here: the event comes again.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from structlog.contextvars import bound_contextvars

from libs.common.changes import Event
from libs.common.db import PLATFORM, Database, Table, TenantRow
from libs.common.envelopes import Envelope, open_envelope
from libs.common.events.subjects import events_of
from libs.common.scrub import scrub
from libs.common.traces import SpanKind, span

BUDGET = 0.5
"""Seconds after which no further load joins a transaction: an event, or those that one handler takes at once.

Events come in any order, and so do the locks of several; a request may wait for one of these while it holds the next.
PostgreSQL looks for such a circle after a second and ends whoever looked, so several are done well before that, or have
given way.
"""

PATIENCE = "200ms"
"""For a lock."""

# On the driver, past SQLAlchemy's compiler.
_SEE = (
    "INSERT INTO inbox (tenant_id, consumer, event_id) SELECT $1, $2, unnest($3::uuid[]) ON CONFLICT DO NOTHING"
    " RETURNING event_id"
)

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError)


class Rejected(Exception):
    """Raised by a handler for an event that no further try can help."""


class NotYet(Exception):
    """Raised by a handler for an event that came before what it builds on: it comes again after 0.4, 0.8, 1.6 …
    seconds, for some ten minutes, and is no failure until then. So does one whose row somebody else holds.
    """


class SeenBefore(Exception):
    """One of several events has had its effect already; each is taken on its own."""


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
type HandlerOfAll[E: Event] = Callable[[AsyncSession, Sequence[Received[E]]], Awaitable[None]]


class Subscription(msgspec.Struct, frozen=True):
    """A handler and the contract it wants; made by on() and on_all()."""

    event: type[Event]
    handler: HandlerOfAll[Any]
    takes_all: bool


def on[E: Event](event: type[E], handler: Handler[E]) -> Subscription:
    """`on(PasswordChanged, mail_password_changed)`: several handlers of one event share its transaction."""

    async def handle(session: AsyncSession, events: Sequence[Received[E]]) -> None:
        for one in events:
            with caused_by(one):
                await handler(session, one)

    return Subscription(event, handle, takes_all=False)


def on_all[E: Event](event: type[E], handler: HandlerOfAll[E]) -> Subscription:
    """`on_all(InvitationIssued, mail_invitations)`: gets one or several of a tenant, in their order, of each row (the
    event's `row_id`) one. What it records for one of them it records within caused_by().
    """
    return Subscription(event, handler, takes_all=True)


@contextmanager
def caused_by(event: Received[Any]) -> Iterator[None]:
    """What is recorded and logged herein belongs to the event's trace, and names it."""
    type = event.data.type()
    with (
        span(f"consume {type}", event.traceparent, kind=SpanKind.CONSUMER, event_id=event.id),
        bound_contextvars(tenant_id=str(event.tenant_id), event_id=str(event.id)),
    ):
        yield


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
        self._handlers: dict[str, list[Subscription]] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Event]] = {}
        for subscription in subscriptions:
            name = subscription.event.type()
            self._handlers.setdefault(name, []).append(subscription)
            self._decoders[name] = msgspec.json.Decoder(subscription.event)

    def read(self, body: bytes) -> Received[Event] | None:
        """None where nobody here listens to the type. Raises one of UNREADABLE for what no contract fits."""
        envelope = open_envelope(body)
        decoder = self._decoders.get(envelope.type)
        return _received(envelope, decoder.decode(envelope.data)) if decoder else None

    async def apply(self, event: Received[Event], *, patience: str | None = None) -> bool:
        """The effect and the inbox row in one transaction. False: it was here before.

        patience: how long to wait for who holds what it would change; raises then. None: as long as a request does.
        """
        async with self.database.session(event.tenant_id, keep=False, patience=patience) as session:
            if not await self._see(session, event.tenant_id, {event.id}):
                return False
            await self._handle(session, [event])
        return True

    async def apply_together(self, events: Sequence[Received[Event]]) -> int:
        """Several of one tenant in one transaction, in their order; how many of them were done within BUDGET.

        Raises what the first that fails raises, SeenBefore, or a lock that is not free soon; then none has happened.
        """
        until = time.monotonic() + BUDGET
        seen: set[UUID] = set()
        done = 0
        async with self.database.session(events[0].tenant_id, keep=False, patience=PATIENCE) as session:
            for load in self._loads(events):
                fresh = [event for event in load if event.id not in seen]
                if fresh:
                    await self._handle(session, fresh)
                    await session.flush()
                    session.expunge_all()  # no handler sees what another has read before it had the lock
                    seen |= {event.id for event in fresh}
                done += len(load)
                if time.monotonic() > until:
                    break
            if await self._see(session, events[0].tenant_id, seen) < seen:
                raise SeenBefore
        return done

    def _loads(self, events: Sequence[Received[Event]]) -> Iterator[list[Received[Event]]]:
        """Neighbours that one call may handle, in their order."""
        load: list[Received[Event]] = []
        for event in events:
            together = load and event.data.type() == load[0].data.type() and self._takes_all(event)
            if load and not (together and event.row_id not in {one.row_id for one in load}):
                yield load
                load = []
            load.append(event)
        if load:
            yield load

    def _takes_all(self, event: Received[Event]) -> bool:
        return all(subscription.takes_all for subscription in self._handlers[event.data.type()])

    async def _see(self, session: AsyncSession, tenant_id: UUID, ids: Collection[UUID]) -> set[UUID]:
        """The inbox rows; gives the ids that were not there before."""
        connection = await session.connection()
        return set((await connection.exec_driver_sql(_SEE, (tenant_id, self.stream, list(ids)))).scalars())

    async def _handle(self, session: AsyncSession, events: Sequence[Received[Event]]) -> None:
        for subscription in self._handlers[events[0].data.type()]:
            await subscription.handler(session, events)

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


def inlets(subscriptions: Sequence[Subscription], database: Database) -> list[Inlet]:
    """One for each stream that the subscriptions come from."""
    by_stream: dict[str, list[Subscription]] = {}
    for subscription in subscriptions:
        by_stream.setdefault(events_of(subscription.event.type().split(".")[0]), []).append(subscription)
    return [Inlet(stream, of_stream, database) for stream, of_stream in sorted(by_stream.items())]


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
