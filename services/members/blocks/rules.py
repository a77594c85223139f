"""Commands that block and unblock. Every start of a block cuts sessions and keys (`cut`); the membership stays."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.errors import Unprocessable
from libs.common.tokens import Actor
from services.members import hold
from services.members.facts import Action, column, outside_of
from services.members.people.rules import require_in_order
from services.members.people.tables import Member
from services.members.refusals import IsOwner
from services.members.tasks.rules import settle_tasks


class NotInFuture(Unprocessable):
    """Params: field."""

    title = "This time is past"


async def lock(
    session: AsyncSession, actor: Actor, member_id: UUID, *, until: datetime | None, reason: str | None
) -> Member:
    """For good, or until then; locking again changes end and reason.

    Raises IsOwner, IsSelf, NotPresent, NotInFuture.
    """
    held = await hold.hold(session, actor, member_id, Action.LOCK)
    member = held.member
    if until is not None and until <= now():
        raise NotInFuture(field="until")
    member.cut += not member.locked
    member.locked, member.locked_until, member.lock_reason = True, until, reason
    await hold.save(session, actor, held, "locked", reason=reason)
    return member


async def unlock(session: AsyncSession, actor: Actor, member_id: UUID) -> Member:
    """Needs no seat: a lock kept it. Raises NotLocked, NotPresent."""
    held = await hold.hold(session, actor, member_id, Action.UNLOCK)
    member = held.member
    member.locked, member.locked_until, member.lock_reason = False, None, None
    await hold.save(session, actor, held, "unlocked")
    return member


async def deactivate(session: AsyncSession, actor: Actor, member_id: UUID, *, reason: str | None = None) -> Member:
    """B-19 to B-21: data and membership stay, the seat is free, no deadline.

    Raises AlreadyDeactivated, IsOwner, IsSelf, NotPresent.
    """
    held = await hold.hold(session, actor, member_id, Action.DEACTIVATE)
    member = held.member
    member.deactivated, member.login_due_at = True, None
    member.cut += 1
    await hold.save(session, actor, held, "deactivated", reason=reason)
    return member


async def reactivate(session: AsyncSession, actor: Actor, member_id: UUID) -> Member:
    """Takes a seat again where she was active; who can sign in now has to, within the tenant's window (T-05).

    Raises NotDeactivated, SeatLimitReached, NotPresent.
    """
    held = await hold.hold(session, actor, member_id, Action.REACTIVATE)
    member = held.member
    member.deactivated = False
    if member.outside == "no_seat":
        member.outside = None
    if column(member.facts) == "active":
        member.reactivated_at = now()
        member.login_due_at = member.reactivated_at + timedelta(hours=held.tenant.reactivation_hours)
    await hold.save(session, actor, held, "reactivated")
    await settle_tasks(session, member, "seat_missing")
    return member


async def set_dates(
    session: AsyncSession,
    actor: Actor,
    member_id: UUID,
    *,
    starts_at: datetime | None,
    ends_at: datetime | None,
    version: int,
) -> Member:
    """Entry and expiry as they shall be; before the entry she may be invited and accept.

    Raises SeatLimitReached where coming inside needs a seat, IsOwner, DatesReversed, Outdated.
    """
    held = await hold.hold(session, actor, member_id, Action.DATES, version=version)
    member = held.member
    require_in_order(starts_at, ends_at)
    if (member.starts_at, member.ends_at) == (starts_at, ends_at):
        return member
    outside = outside_of(starts_at, ends_at, now())
    if member.is_owner and (outside or ends_at):
        raise IsOwner
    member.starts_at, member.ends_at = starts_at, ends_at
    hold.set_outside(member, outside)
    member.version += 1
    await hold.save(session, actor, held, "dates_set")
    return member


async def strike(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> None:
    """The sweep's hand: holding her lets her clocks strike."""
    await hold.find_held(session, member_id)


due = select(Member.tenant_id, Member.id).where(Member.due_at <= func.now()).order_by(Member.due_at)
