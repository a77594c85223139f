from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from libs.common.events.notifier import MailState
from services.notifier.tables import Table


class Message(TenantRow, Table):
    """One mail to one address, and what became of it. version rises with each change of state.

    due_at: when the worker looks at it again; null where nothing is left to do. While a mail is being sent, that is the
    end of the lease.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint(
            "tenant_id", "cause_id", "template", "email_canonical", "copy_number", name="uq_messages_cause"
        ),
    )

    version: Mapped[int] = mapped_column(BigInteger, default=1)

    cause_id: Mapped[UUID]
    cause_type: Mapped[str]
    copy_number: Mapped[int] = mapped_column(default=0)
    copy_of: Mapped[UUID | None]
    actor_id: Mapped[UUID | None]

    template: Mapped[str]
    template_version: Mapped[str | None]
    category: Mapped[str]
    priority: Mapped[int]
    locale: Mapped[str]
    data: Mapped[dict[str, object]] = mapped_column(JSONB)

    member_id: Mapped[UUID | None]
    email: Mapped[str]
    email_canonical: Mapped[str]

    link_purpose: Mapped[int | None]
    link_id: Mapped[UUID | None]
    link_path: Mapped[str | None]
    link_deadline: Mapped[datetime | None]
    epoch: Mapped[int | None] = mapped_column(BigInteger)
    generation: Mapped[int | None] = mapped_column(BigInteger)

    state: Mapped[MailState]
    reason: Mapped[str | None]
    due_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    attempt_id: Mapped[UUID | None]
    attempts: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)  # attempts that were about this mail
    uncertain: Mapped[int] = mapped_column(default=0)
    first_try_at: Mapped[datetime | None]
    changed_at: Mapped[datetime]


class Body(Table):
    """A mail as it was sent, every time, but for the code of its link, which is filled in on the way out."""

    __tablename__ = "message_bodies"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    sender_name: Mapped[str]
    reply_to: Mapped[str | None]
    subject: Mapped[str]
    text: Mapped[str]
    html: Mapped[str]
    logo_id: Mapped[UUID | None]


class Attempt(TenantRow, Table):
    """One try. Written before SMTP is spoken; one without an end belongs to a worker that is at it, or died."""

    __tablename__ = "attempts"

    message_id: Mapped[UUID]
    number: Mapped[int]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    code: Mapped[int | None]
    enhanced: Mapped[str | None]
    reply: Mapped[str | None]
    host: Mapped[str | None]
    duration_ms: Mapped[int | None]
