"""A message with everything around it that decides whether it may go out, in one select."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import among
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
        Tenant,
        MailSettings,
        Invitation.generation.label("known_generation"),
        Invitation.ended_generation,
        Invitation.ended_reason,
        Suppression.reason.label("suppressed"),
        Suppression.expires_at.label("suppressed_until"),
    )
    .outerjoin(Body, and_(Body.tenant_id == Message.tenant_id, Body.message_id == Message.id))
    .outerjoin(Entry, and_(Entry.tenant_id == Message.tenant_id, Entry.member_id == Message.member_id))
    .outerjoin(Tenant, Tenant.tenant_id == Message.tenant_id)
    .outerjoin(MailSettings, MailSettings.tenant_id == Message.tenant_id)
    .outerjoin(Invitation, and_(Invitation.tenant_id == Message.tenant_id, Invitation.id == Message.link_id))
    .outerjoin(
        Suppression,
        and_(
            Suppression.tenant_id == Message.tenant_id,
            Suppression.email_canonical == Message.email_canonical,
            Suppression.lifted_at.is_(None),
        ),
    )
)


class Held(NamedTuple):
    """A message that is locked until the transaction ends. body: None before its first try."""

    message: Message
    body: Body | None
    tenant: Tenant | None
    settings: MailSettings | None
    facts: Facts


async def hold_due(session: AsyncSession, ids: Sequence[UUID], now: datetime) -> list[Held]:
    """Those of them that are due and that nobody else holds."""
    query = _QUERY.where(among(Message.id, ids), Message.due_at <= now)
    return await _hold(session, query.with_for_update(of=Message, skip_locked=True), now)


async def hold(session: AsyncSession, message_id: UUID, now: datetime) -> Held | None:
    """None where there is no such message."""
    held = await _hold(session, _QUERY.where(Message.id == message_id).with_for_update(of=Message), now)
    return held[0] if held else None


async def _hold(session: AsyncSession, query: Any, now: datetime) -> list[Held]:
    return [_held(row, now) for row in await session.execute(query)]


def _held(row: Any, now: datetime) -> Held:
    message: Message = row.Message
    facts = Facts(
        template=message.template,
        category=message.category,
        generation=message.generation,
        link_deadline=message.link_deadline,
        expires_at=message.expires_at,
        tenant_state=row.Tenant.state if row.Tenant else None,
        entry=row.Entry,
        known_generation=row.known_generation,
        ended_generation=row.ended_generation,
        ended_reason=row.ended_reason,
        suppressed=row.suppressed if row.suppressed and row.suppressed_until > now else None,
        matrix=row.MailSettings.matrix if row.MailSettings else None,
    )
    return Held(message, row.Body, row.Tenant, row.MailSettings, facts)
