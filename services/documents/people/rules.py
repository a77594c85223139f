"""Finding a member that an upload or a list is about."""

import asyncio
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.errors import Conflict, Gone
from services.documents.people.tables import GroupMember, Member

GONE = frozenset({"erasing", "erased", "anonymised"})
_PATIENCE = 2.0
_LOOK = 0.1


class MemberNotKnownYet(Conflict):
    """Another tenant's, a wrong one, or so new that the event is still on its way: nobody can tell from here."""

    title = "This member is not known here yet; try again soon"


class MemberMarkedDeleted(Conflict):
    title = "This member is marked for deletion"


class MemberGone(Gone):
    title = "This member was erased or anonymised"


async def get_member(session: AsyncSession, member_id: UUID) -> Member:
    """Waits up to two seconds for the event that tells of a new member. Raises MemberNotKnownYet."""
    query = select(Member).where(Member.id == member_id).execution_options(populate_existing=True)
    for _ in range(int(_PATIENCE / _LOOK)):
        member = await session.scalar(query)
        if member is not None:
            return member
        await asyncio.sleep(_LOOK)
    raise MemberNotKnownYet(member_id=member_id, retry_after=1)


def require_present(member: Member) -> None:
    """Nothing is filed about who is leaving. Raises MemberGone, MemberMarkedDeleted."""
    if member.life in GONE:
        raise MemberGone(member_id=member.id)
    if member.life != "present":
        raise MemberMarkedDeleted(member_id=member.id)


async def is_group(session: AsyncSession, group_id: UUID) -> bool:
    """Whether anybody is in it."""
    return bool(await session.scalar(select(exists().where(GroupMember.group_id == group_id, GroupMember.inside))))
