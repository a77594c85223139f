"""The mail log as it is shown. Addresses are masked for those who may not see members' contact data (A-22)."""

from datetime import datetime
from uuid import UUID

import msgspec

from libs.common.events.notifier import MailState
from libs.common.permissions import Permission
from libs.common.text import masked_address, with_masked_addresses
from libs.common.tokens import Actor
from services.notifier.bounces.tables import DeliveryReport
from services.notifier.messages.tables import Attempt, Body, Message
from services.notifier.templates.layout import CODE


class AttemptOut(msgspec.Struct):
    """outcome: null while it is under way. relay_lost cost the mail nothing."""

    at: datetime
    outcome: str | None
    code: int | None
    enhanced: str | None
    reply: str | None
    host: str | None
    duration_ms: int | None


class MessageOut(msgspec.Struct):
    """state `sent` means that the next server has accepted it, and no more; the words of states are at /words."""

    id: UUID
    created_at: datetime
    member_id: UUID | None
    email: str
    template: str
    template_version: str | None
    locale: str
    state: MailState
    reason: str | None
    changed_at: datetime
    maybe_twice: bool
    """An answer was lost: the same mail, with the same Message-ID, may have arrived twice."""
    next_try_at: datetime | None
    expires_at: datetime
    cause_id: UUID
    cause_type: str
    actor_id: UUID | None
    copy_of: UUID | None
    tries: int
    last_attempt: AttemptOut | None


class ReportOut(msgspec.Struct):
    """What came back after it was sent: failed, delayed, delivered, complained."""

    at: datetime
    kind: str
    status: str | None
    diagnostic: str
    server: str


class BodyOut(msgspec.Struct):
    """As it was sent; the code of its link is shown as …"""

    sender_name: str
    reply_to: str | None
    subject: str
    text: str
    html: str


class MessageDetailOut(MessageOut):
    """body: null before the first try, and for direct messages where the caller may not write such."""

    attempts: list[AttemptOut]
    reports: list[ReportOut]
    copies: list[UUID]
    body: BodyOut | None


class ResentOut(msgspec.Struct):
    """copy_id, or the code of what stands in the way."""

    message_id: UUID
    copy_id: UUID | None = None
    code: str | None = None


class Shown:
    """What this caller may see."""

    def __init__(self, actor: Actor) -> None:
        self._addresses = Permission.MEMBERS_CONTACT in actor.rights
        self._direct_messages = Permission.MESSAGES_WRITE in actor.rights

    def message(self, message: Message, last: Attempt | None) -> MessageOut:
        return MessageOut(
            id=message.id,
            created_at=message.created_at,
            member_id=message.member_id,
            email=self.address(message.email),
            template=message.template,
            template_version=message.template_version,
            locale=message.locale,
            state=message.state,
            reason=message.reason,
            changed_at=message.changed_at,
            maybe_twice=message.uncertain > 0,
            next_try_at=message.due_at if message.state in ("queued", "deferred", "unknown") else None,
            expires_at=message.expires_at,
            cause_id=message.cause_id,
            cause_type=message.cause_type,
            actor_id=message.actor_id,
            copy_of=message.copy_of,
            tries=message.tries,
            last_attempt=self.attempt(last) if last else None,
        )

    def attempt(self, attempt: Attempt) -> AttemptOut:
        return AttemptOut(
            at=attempt.created_at,
            outcome=attempt.outcome,
            code=attempt.code,
            enhanced=attempt.enhanced,
            reply=self._quoted(attempt.reply),
            host=attempt.host,
            duration_ms=attempt.duration_ms,
        )

    def report(self, report: DeliveryReport) -> ReportOut:
        said = self._quoted(report.diagnostic) or ""
        return ReportOut(report.created_at, report.kind, report.status, said, report.server)

    def body(self, message: Message, body: Body | None) -> BodyOut | None:
        if body is None or (message.template == "direct_message" and not self._direct_messages):
            return None
        return BodyOut(
            body.sender_name,
            body.reply_to,
            body.subject,
            text=body.text.replace(CODE, "…"),
            html=body.html.replace(CODE, "…"),
        )

    def address(self, email: str) -> str:
        return email if self._addresses else masked_address(email)

    def _quoted(self, said: str | None) -> str | None:
        """Servers repeat the address in their answers."""
        return said if said is None or self._addresses else with_masked_addresses(said)
