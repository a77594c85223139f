"""Taking a message to send it: looked at again, written down as an attempt, and leased, all in one transaction.

Two workers never have the same message: the row is locked, and the state changes by compare-and-set. A worker that died
loses its lease, and what it was doing is uncertain: the mail is sent once more with the same Message-ID, and says so.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.address_book.tables import Entry, Invitation
from services.notifier.mail_settings.tables import Logo, MailSettings
from services.notifier.messages import gates
from services.notifier.messages.bodies import NotRendered, write_body
from services.notifier.messages.house import House
from services.notifier.messages.moves import move
from services.notifier.messages.tables import Attempt, Body, Message
from services.notifier.suppressions.tables import Suppression
from services.notifier.tenants.tables import Tenant

ONCE_MORE = 1
"""How often an uncertain mail is sent again: more would be more than one duplicate."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A message in a worker's hand."""

    message: Message
    body: Body
    logo: tuple[str, bytes] | None
    attempt_id: UUID
    started_at: datetime


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
    .with_for_update(of=Message, skip_locked=True)
)


async def claim(session: AsyncSession, message_id: UUID, now: datetime, lease: timedelta, house: House) -> Claim | None:
    """None: somebody else has it, or it is not to be sent now; then it has moved on to where it belongs."""
    row = (await session.execute(_QUERY.where(Message.id == message_id, Message.due_at <= now))).one_or_none()
    if row is None:
        return None
    message: Message = row.Message
    if message.state == "sending":
        await give_up_lost_attempt(session, message, now)
        return None
    if halt := gates.stop(_facts(row, now), now):
        await move(session, message, halt.state, reason=halt.reason, due_at=halt.due_at)
        return None
    if message.state == "suppressed":
        await move(session, message, "queued", due_at=now)
        return None
    body: Body | None = row.Body
    if body is None:
        try:
            body = await write_body(session, message, house)
        except NotRendered:
            await move(session, message, "failed", reason="not_rendered")
            return None
    attempt_id = await _begin_attempt(session, message, now, lease, house.relay_host)
    return Claim(message=message, body=body, logo=await _logo(session, body), attempt_id=attempt_id, started_at=now)


async def give_up_lost_attempt(session: AsyncSession, message: Message, now: datetime) -> None:
    """The lease has run out: whoever had it is gone, perhaps between the mail and its answer."""
    await session.execute(
        update(Attempt)
        .where(Attempt.tenant_id == message.tenant_id, Attempt.id == message.attempt_id, Attempt.ended_at.is_(None))
        .values(ended_at=now, outcome="uncertain", reply="The worker ended before an answer came")
    )
    await move_uncertain(session, message, now)


async def move_uncertain(session: AsyncSession, message: Message, now: datetime) -> bool:
    """Once more, and then it stays unknown."""
    again = message.uncertain < ONCE_MORE
    return await move(
        session,
        message,
        "unknown",
        reason="maybe_twice" if again else "uncertain",
        due_at=now if again else None,
        uncertain=message.uncertain + 1,
    )


async def _begin_attempt(session: AsyncSession, message: Message, now: datetime, lease: timedelta, host: str) -> UUID:
    begun = await session.execute(
        insert(Attempt)
        .values(
            tenant_id=message.tenant_id,
            message_id=message.id,
            number=message.attempts + 1,
            created_at=now,
            host=host,
        )
        .returning(Attempt.id)
    )
    attempt_id: UUID = begun.scalar_one()
    await move(
        session,
        message,
        "sending",
        reason=message.reason,
        due_at=now + lease,
        attempt_id=attempt_id,
        attempts=message.attempts + 1,
    )
    return attempt_id


async def _logo(session: AsyncSession, body: Body) -> tuple[str, bytes] | None:
    if body.logo_id is None:
        return None
    found = (await session.execute(select(Logo.type, Logo.data).where(Logo.id == body.logo_id))).one_or_none()
    return (found.type, found.data) if found else None


def _facts(row: Any, now: datetime) -> gates.Facts:
    message: Message = row.Message
    suppressed = row.suppressed if row.suppressed and row.suppressed_until > now else None
    return gates.Facts(
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
        suppressed=suppressed,
        matrix=row.matrix,
    )
