"""One cause, one template, one recipient: one message, however often the cause arrives (R-25)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.links import Purpose
from libs.common.text import AddressMalformed, canonical_address
from services.notifier.messages.moves import tell
from services.notifier.messages.tables import Message
from services.notifier.templates.catalog import KINDS, Name

log = structlog.get_logger()

WORTH = timedelta(days=7)
"""A mail without a link is pointless after so long."""


class Link(msgspec.Struct, frozen=True):
    """What the code is derived from. path: of the page, without the code: `t/acme/invitation`."""

    purpose: Purpose
    id: UUID
    generation: int
    deadline: datetime
    path: str


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """data: values for the template's variables; no secret may be among them."""

    template: Name
    cause_id: UUID
    cause_type: str
    email: str
    locale: str
    data: Mapping[str, object]
    member_id: UUID | None = None
    actor_id: UUID | None = None
    link: Link | None = None
    epoch: int | None = None


async def queue(session: AsyncSession, tenant_id: UUID, mail: Mail) -> UUID | None:
    """The new message's id; None where this cause has its message already."""
    made = await queue_all(session, tenant_id, [mail])
    for message in made:
        announce(session, message)
    return made[0].id if made else None


async def queue_all(session: AsyncSession, tenant_id: UUID, mails: Sequence[Mail]) -> Sequence[Message]:
    """The new messages, of those whose cause has none yet; announce() each."""
    query = insert(Message).on_conflict_do_nothing().returning(Message)
    return (await session.scalars(query, [_row(tenant_id, mail) for mail in mails])).all()


def announce(session: AsyncSession, message: Message) -> None:
    tell(session, message, message.state, message.reason, message.version)


def _row(tenant_id: UUID, mail: Mail) -> dict[str, object]:
    moment = now()
    state, reason, canonical = "queued", None, mail.email.strip().lower()
    try:
        canonical = canonical_address(mail.email)
    except AddressMalformed:
        state, reason = "failed", "address_unusable"
    link = mail.link
    return {
        "tenant_id": tenant_id,
        "version": 1,
        "cause_id": mail.cause_id,
        "cause_type": mail.cause_type,
        "copy_number": 0,
        "actor_id": mail.actor_id,
        "template": mail.template,
        "category": KINDS[mail.template].category,
        "priority": 0 if KINDS[mail.template].category == "security" else 1,
        "locale": mail.locale,
        "data": msgspec.to_builtins(mail.data),
        "member_id": mail.member_id,
        "email": mail.email.strip(),
        "email_canonical": canonical,
        "link_purpose": link and link.purpose,
        "link_id": link and link.id,
        "link_path": link and link.path,
        "link_deadline": link and link.deadline,
        "epoch": mail.epoch,
        "generation": link and link.generation,
        "state": state,
        "reason": reason,
        "due_at": moment if state == "queued" else None,
        "expires_at": link.deadline if link else moment + WORTH,
        "changed_at": moment,
    }
