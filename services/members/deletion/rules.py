"""Mark deleted and restore (A-48 to A-51). Names stay taken until the data is erased."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.tokens import Actor
from services.members import hold
from services.members.access.rules import end_access
from services.members.facts import Action, outside_of
from services.members.people.tables import Member
from services.members.refusals import NotMarkedDeleted


async def mark_deleted(session: AsyncSession, actor: Actor, member_id: UUID, *, version: int) -> Member:
    """She cannot sign in from now on; an open invitation is over. Raises IsOwner, IsSelf, NotPresent, Outdated."""
    held = await hold.hold(session, actor, member_id, Action.DELETE, version=version)
    member = held.member
    if member.access == "invited":
        end_access(member)
    member.life, member.deleted_until = "marked_deleted", now() + timedelta(days=held.tenant.retention_days)
    member.login_due_at = None
    member.cut += 1
    await hold.save(session, actor, held, "marked_deleted")
    return member


async def restore(session: AsyncSession, actor: Actor, member_id: UUID) -> Member:
    """As she was; takes a seat where she needs one. Raises NotMarkedDeleted after the deadline, SeatLimitReached."""
    held = await hold.hold(session, actor, member_id, Action.RESTORE)
    member = held.member
    if member.deleted_until is not None and member.deleted_until <= now():
        raise NotMarkedDeleted(until=member.deleted_until)
    member.life, member.deleted_until = "present", None
    if member.outside != "no_seat":
        hold.set_outside(member, outside_of(member.starts_at, member.ends_at, now()))
    await hold.save(session, actor, held, "restored")
    return member
