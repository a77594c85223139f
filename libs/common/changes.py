"""What a change leaves behind in its own transaction: who did what, and the event that tells the others, or nothing.

Events leave with the transaction that caused them. The relay publishes them later, at least once, in order per row;
consumers drop what they have seen. Nothing else in a request may talk to the outside.
"""

from datetime import datetime
from typing import Any, ClassVar, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, Identity, SmallInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Table, TenantRow
from libs.common.events.subjects import event_subject
from libs.common.tokens import Actor
from libs.common.traces import current_traceparent

PARTITIONS = 16


class Event(msgspec.Struct, frozen=True):
    """Base of all events: past tense, no secrets, additive within a version.

    `name` is the type, `<service>.<aggregate>.<fact>.v<n>`; `counter` names the row's attribute that orders an
    aggregate's events for whoever applies only what is newer.
    """

    name: ClassVar[str]
    counter: ClassVar[str] = "version"

    @classmethod
    def type(cls) -> str:
        return cls.name


class Changed(Protocol):
    """What can be recorded: a row with its tenant and its id."""

    @property
    def tenant_id(self) -> Any: ...
    @property
    def id(self) -> Any: ...


class Outbox(TenantRow, Table):
    """Events on their way out; id is the event's. Kept 14 days after they left, so that they can be sent again."""

    __tablename__ = "outbox"

    sequence: Mapped[int] = mapped_column(BigInteger, Identity(always=True))  # order within a partition, never a cursor
    partition: Mapped[int] = mapped_column(SmallInteger)
    row_id: Mapped[UUID]
    row_version: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str]
    subject: Mapped[str]
    data: Mapped[dict[str, object]] = mapped_column(JSONB)
    traceparent: Mapped[str | None]
    published_at: Mapped[datetime | None]
    stream_seq: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    last_error: Mapped[str | None]


class Audit(TenantRow, Table):
    """Who did what to what (R-26). The worker chains the rows afterwards over a salted digest of the details, so that
    erasure can forget these and the chain still verifies.
    """

    __tablename__ = "audit"

    sequence: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    actor_kind: Mapped[str]
    actor_id: Mapped[UUID]
    session_id: Mapped[str]
    row_id: Mapped[UUID]
    type: Mapped[str]
    details: Mapped[dict[str, object] | None] = mapped_column(JSONB)
    salt: Mapped[bytes | None]
    chained: Mapped[int | None] = mapped_column(BigInteger)  # position in the tenant's chain
    digest: Mapped[bytes | None]
    chain: Mapped[bytes | None]


def record(session: AsyncSession, actor: Actor, row: Changed, event: Event, **details: object) -> None:
    """Note a change that has been flushed. Every rule that changes a row ends with it.

    details: what the history should say beyond the event (a reason, what was there before).
    """
    data = msgspec.to_builtins(event)
    send(
        session,
        row,
        event.type(),
        event_subject(event.type(), row.tenant_id, row.id),
        data,
        version=getattr(row, event.counter),
    )
    note(session, actor, row, event.type(), **data, **details)


def note(session: AsyncSession, actor: Actor, row: Changed, fact: str, **details: object) -> None:
    """Audit only: a fact that nobody else has to hear of."""
    session.add(
        Audit(
            tenant_id=row.tenant_id,
            actor_kind=actor.kind,
            actor_id=actor.id,
            session_id=actor.session_id,
            row_id=row.id,
            type=fact,
            details=msgspec.to_builtins(details),
        )
    )


def send(
    session: AsyncSession, row: Changed, fact: str, subject: str, data: dict[str, object], *, version: int
) -> None:
    """An outbox row under a subject of its own (revocations); events go through record."""
    session.info["recorded"] = True
    session.add(
        Outbox(
            tenant_id=row.tenant_id,
            partition=row.id.int % PARTITIONS,
            row_id=row.id,
            row_version=version,
            type=fact,
            subject=subject,
            data=data,
            traceparent=current_traceparent(),
        )
    )
