"""What notifier tells the others: what became of a mail."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from libs.common.changes import Event

MailState = Literal[
    "queued", "sending", "sent", "deferred", "delivered", "bounced", "complained",
    "suppressed", "expired", "failed", "unknown", "cancelled",
]  # fmt: skip


class MessageChanged(Event, frozen=True):
    """The state that a message now has; members shows that of a member's newest invitation in her row."""

    name: ClassVar[str] = "notifier.message.changed.v1"

    message_id: UUID
    member_id: UUID | None
    template: str
    state: MailState
    epoch: int | None
    generation: int | None
    reason: str | None
    at: datetime


class MemberMailErased(Event, frozen=True):
    """The answer to members.member.erasing.v1: what is gone, by kind."""

    name: ClassVar[str] = "notifier.member.erased.v1"
    counter: ClassVar[str] = "erased_version"

    certificate_id: UUID
    counts: dict[str, int]
