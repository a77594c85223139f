"""Resend (D-17, D-18, T-03): a copy of a mail, with the same words, link, deadline and address, and its lineage.

What a copy cannot mend is refused, and the error names what can: *invite again* makes a new link, *fix e-mail* a new
address.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import AppError, Conflict, NotFound, TooMany
from libs.common.tokens import Actor
from services.notifier.messages import gates
from services.notifier.messages.facts import Held, hold
from services.notifier.messages.log import MessageFilter, narrowed, require_filter
from services.notifier.messages.moves import tell
from services.notifier.messages.queueing import WORTH
from services.notifier.messages.states import WAITING
from services.notifier.messages.tables import Body, Message

PER_HOUR = 5
"""Copies to one address."""

Instead = Literal["invite_again", "fix_email"]


class LinkDead(Conflict):
    """Raised with reason, and instead: invite_again."""

    title = "The link in this mail does not work any more: invite again"


class AddressChanged(Conflict):
    """Raised with instead: invite_again for an invitation, else fix_email."""

    title = "The address has changed since; a copy would go to the old one"


class AddressSuppressed(Conflict):
    """Raised with reason, and instead: fix_email."""

    title = "Mail to this address comes back: fix the e-mail, or take it off the suppression list"


class StillOnItsWay(Conflict):
    title = "This mail has not been sent yet; it is tried again by itself"


class GetsNoMail(Conflict):
    title = "In the present state nobody sends this mail to the member"


async def resend(session: AsyncSession, actor: Actor, message_id: UUID) -> Message:
    """The copy, queued. Raises NotFound and the errors above; TooMany after five copies an hour to one address."""
    held = await hold(session, message_id, now())
    if held is None:
        raise NotFound
    _require_mendable(held)
    await _require_moderation(session, held.message)
    copy = await _copy(session, actor, held)
    note(session, actor, copy, "notifier.message.resent", copy_of=message_id)
    return copy


class Resent(NamedTuple):
    message_id: UUID
    copy: Message | None
    error: AppError | None


async def resend_many(
    session: AsyncSession, actor: Actor, *, ids: Sequence[UUID], filter: MessageFilter | None, limit: int
) -> list[Resent]:
    """Those of the ids, or the oldest that the filter finds and nobody has copied yet: what a broken relay left behind.

    Each on its own: what cannot be resent says why, and stops no other.
    """
    found = list(ids)
    if filter is not None:
        require_filter(actor, filter)
        later = aliased(Message)
        copied = select(later.id).where(later.tenant_id == Message.tenant_id, later.copy_of == Message.id).exists()
        query = narrowed(select(Message.id).where(~copied).order_by(Message.id).limit(limit), filter)
        found = list(await session.scalars(query))
    done = []
    for message_id in found:
        try:
            async with session.begin_nested():
                done.append(Resent(message_id, await resend(session, actor, message_id), None))
        except AppError as error:
            done.append(Resent(message_id, None, error))
    return done


def _require_mendable(held: Held) -> None:
    message, facts = held.message, held.facts
    if (message.state in WAITING - {"suppressed"} and message.due_at is not None) or message.state == "sending":
        raise StillOnItsWay(state=message.state)
    instead: Instead = "invite_again" if message.template == "invitation" else "fix_email"
    if facts.entry and facts.entry.profile_version and facts.entry.email_canonical != message.email_canonical:
        raise AddressChanged(instead=instead)
    if message.link_deadline is None:
        facts = msgspec.structs.replace(facts, expires_at=now() + WORTH)
    halt = gates.stop(facts, now())
    if halt is None:
        return
    if halt.state == "suppressed":
        raise AddressSuppressed(reason=halt.reason, instead="fix_email")
    if halt.reason in ("state_forbids", "tenant_closed", "erased"):
        raise GetsNoMail(reason=halt.reason)
    raise LinkDead(reason=halt.reason, instead="invite_again")


async def _require_moderation(session: AsyncSession, message: Message) -> None:
    hour = timedelta(hours=1)
    recent = select(func.count(), func.min(Message.created_at)).where(
        Message.email_canonical == message.email_canonical,
        Message.copy_of.is_not(None),
        Message.created_at > now() - hour,
    )
    count, oldest = (await session.execute(recent)).one()
    if count >= PER_HOUR:
        raise TooMany(retry_after=max(1, int((oldest + hour - now()).total_seconds())))


_LINEAGE = ("tenant_id", "cause_id", "cause_type", "template", "category", "priority", "locale", "data", "member_id")
_ADDRESS = ("email", "email_canonical", "epoch", "generation", "template_version")
_LINK = ("link_purpose", "link_id", "link_path", "link_deadline")


async def _copy(session: AsyncSession, actor: Actor, held: Held) -> Message:
    original, body = held.message, held.body
    moment = now()
    copies = select(func.max(Message.copy_number)).where(
        Message.cause_id == original.cause_id,
        Message.template == original.template,
        Message.email_canonical == original.email_canonical,
    )
    copy = Message(
        **{name: getattr(original, name) for name in (*_LINEAGE, *_ADDRESS, *_LINK)},
        version=1,
        copy_number=(await session.scalar(copies) or 0) + 1,
        copy_of=original.id,
        actor_id=actor.id,
        state="queued",
        due_at=moment,
        expires_at=original.link_deadline or moment + WORTH,
        changed_at=moment,
    )
    session.add(copy)
    await session.flush()
    if body is not None:
        same = ("tenant_id", "sender_name", "reply_to", "subject", "text", "html", "logo_id")
        await session.execute(
            insert(Body).values({name: getattr(body, name) for name in same} | {"message_id": copy.id})
        )
    tell(session, copy, copy.state, None, copy.version)
    return copy
