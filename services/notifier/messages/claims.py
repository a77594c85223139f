"""Taking a message to send it: looked at again, written down as an attempt, and leased, all in one transaction.

Two workers never have the same message: the row is locked, and the state changes by compare-and-set. A worker that died
loses its lease, and what it was doing is uncertain: the mail is sent once more with the same Message-ID, and says so.
"""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.limits import rules as limits
from services.notifier.mail_settings.tables import Logo
from services.notifier.messages import gates
from services.notifier.messages.bodies import NotRendered, draft_of, write_body
from services.notifier.messages.compose import compose, deliverable
from services.notifier.messages.facts import hold_due
from services.notifier.messages.house import House
from services.notifier.messages.moves import move
from services.notifier.messages.tables import Attempt, Body, Message
from services.notifier.templates.catalog import KINDS

log = structlog.get_logger()

ONCE_MORE = 1
"""How often an uncertain mail is sent again: more would be more than one duplicate."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A message in a worker's hand."""

    message: Message
    attempt_id: UUID
    started_at: datetime
    recipient: str
    content: bytes


async def claim(session: AsyncSession, message_id: UUID, now: datetime, lease: timedelta, house: House) -> Claim | None:
    """None: somebody else has it, or it is not to be sent now; then it has moved on to where it belongs."""
    held = await hold_due(session, message_id, now)
    if held is None:
        return None
    message, body, facts = held
    if message.state == "sending":
        await give_up_lost_attempt(session, message, now)
        return None
    if halt := gates.stop(facts, now):
        if halt.state == message.state:
            message.due_at = halt.due_at
        else:
            await move(session, message, halt.state, reason=halt.reason, due_at=halt.due_at)
        return None
    if message.state == "suppressed":
        await move(session, message, "queued", due_at=now)
        return None
    if _is_first_invitation(message) and not await limits.may_invite(session, message.email_canonical, now):
        await move(session, message, "deferred", reason="limited", due_at=now + limits.RETRY)
        return None
    try:
        body = body or await write_body(session, message, house)
        content = compose(draft_of(message, body, await _logo(session, body), house))
    except (NotRendered, ValueError, TypeError) as error:
        log.exception("mail_not_composed", message_id=str(message.id), exc_info=error)
        await move(session, message, "failed", reason="not_rendered")
        return None
    attempt_id = await _begin_attempt(session, message, now, lease, house.relay_host)
    return Claim(
        message=message,
        attempt_id=attempt_id,
        started_at=now,
        recipient=deliverable(message.email),
        content=content,
    )


def _is_first_invitation(message: Message) -> bool:
    """Tries of the same mail count once."""
    return KINDS[message.template].group == "invitation" and message.attempts == 0


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
