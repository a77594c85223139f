"""A message with everything around it that decides whether it may go out, in one select."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.address_book.tables import Entry, Invitation
from services.notifier.mail_settings.tables import MailSettings
from services.notifier.messages.gates import Facts
from services.notifier.messages.tables import Body, Message
from services.notifier.suppressions.tables import Suppression
from services.notifier.tenants.tables import Tenant

_QUERY = (
    select(
        Message,
        Body,
        Entry,
        Tenant.state.label("tenant_state"),
        Invitation.generation.label("known_generation"),
        Invitation.ended_generation,
        Invitation.ended_reason,
        Suppression.reason.label("suppressed"),
        Suppression.expires_at.label("suppressed_until"),
        MailSettings.matrix,
    )
    .outerjoin(Body, and_(Body.tenant_id == Message.tenant_id, Body.message_id == Message.id))
    .outerjoin(Entry, and_(Entry.tenant_id == Message.tenant_id, Entry.member_id == Message.member_id))
    .outerjoin(Tenant, Tenant.tenant_id == Message.tenant_id)
    .outerjoin(Invitation, and_(Invitation.tenant_id == Message.tenant_id, Invitation.id == Message.link_id))
    .outerjoin(
        Suppression,
        and_(
            Suppression.tenant_id == Message.tenant_id,
            Suppression.email_canonical == Message.email_canonical,
            Suppression.lifted_at.is_(None),
        ),
    )
    .outerjoin(MailSettings, MailSettings.tenant_id == Message.tenant_id)
)


class Held(NamedTuple):
    """A message that is locked until the transaction ends. body: None before its first try."""

    message: Message
    body: Body | None
    facts: Facts


async def hold_due(session: AsyncSession, message_id: UUID, now: datetime) -> Held | None:
    """None where it is not due, or somebody else holds it."""
    query = _QUERY.where(Message.id == message_id, Message.due_at <= now)
    row = (await session.execute(query.with_for_update(of=Message, skip_locked=True))).one_or_none()
    return None if row is None else _held(row, now)


async def hold(session: AsyncSession, message_id: UUID, now: datetime) -> Held | None:
    """None where there is no such message."""
    query = _QUERY.where(Message.id == message_id)
    row = (await session.execute(query.with_for_update(of=Message))).one_or_none()
    return None if row is None else _held(row, now)


def _held(row: Any, now: datetime) -> Held:
    message: Message = row.Message
    facts = Facts(
        template=message.template,
        category=message.category,
        generation=message.generation,
        link_deadline=message.link_deadline,
        expires_at=message.expires_at,
        tenant_state=row.tenant_state,
        entry=row.Entry,
        known_generation=row.known_generation,
        ended_generation=row.ended_generation,
        ended_reason=row.ended_reason,
        suppressed=row.suppressed if row.suppressed and row.suppressed_until > now else None,
        matrix=row.matrix,
    )
    return Held(message, row.Body, facts)
