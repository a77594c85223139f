"""Finding a member that an upload or a list is about."""

from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.errors import Conflict, Gone
from libs.common.projections import wait_for_member
from services.documents.people.tables import GroupMember, Member

GONE = frozenset({"erasing", "erased", "anonymised"})


class MemberMarkedDeleted(Conflict):
    title = "This member is marked for deletion"


class MemberGone(Gone):
    title = "This member was erased or anonymised"


async def get_member(session: AsyncSession, member_id: UUID) -> Member:
    """Waits for the event that tells of a new member. Raises NotFound, MemberNotKnownYet."""
    query = select(Member).where(Member.id == member_id).execution_options(populate_existing=True)
    return await wait_for_member(member_id, lambda: session.scalar(query))


def require_present(member: Member) -> None:
    """Nothing is filed about who is leaving. Raises MemberGone, MemberMarkedDeleted."""
    if member.life in GONE:
        raise MemberGone(member_id=member.id)
    if member.life != "present":
        raise MemberMarkedDeleted(member_id=member.id)


async def is_group(session: AsyncSession, group_id: UUID) -> bool:
    """Whether anybody is in it."""
    return bool(await session.scalar(select(exists().where(GroupMember.group_id == group_id, GroupMember.inside))))
