"""Keeps the projection. Each event is a level: applied where it is newer than what is known, never to a tombstone."""

from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.identity import MembershipActivated, MembershipEnded
from libs.common.events.members import AccessWanted, GroupMemberSaved, MemberErasing, MemberSaved
from libs.common.inlets import Received
from services.documents.people.tables import GroupMember, Member

_UNKNOWN = {
    "life": "present",
    "profile_version": 0,
    "access_version": 0,
    "wanted": True,
    "av": 0,
    "active": False,
    "holder": 0,
}


async def note_profile(session: AsyncSession, event: Received[MemberSaved]) -> None:
    await _apply(session, event, event.row_id, "profile_version", life=event.data.life)


async def note_access(session: AsyncSession, event: Received[AccessWanted]) -> None:
    wanted = event.data.want == "invited" and "deactivated" not in event.data.blocked
    await _apply(session, event, event.row_id, "access_version", wanted=wanted)


async def note_activation(session: AsyncSession, event: Received[MembershipActivated]) -> None:
    await _apply(session, event, event.data.member_id, "av", active=True, holder=event.data.holder)


async def note_end(session: AsyncSession, event: Received[MembershipEnded]) -> None:
    await _apply(session, event, event.data.member_id, "av", active=False, holder=event.data.holder)


async def note_erasing(session: AsyncSession, event: Received[MemberErasing]) -> None:
    """The tombstone: from now on nothing changes it."""
    row = {**_UNKNOWN, "tenant_id": event.tenant_id, "id": event.row_id, "life": "erased", "wanted": False}
    gone = {"life": "erased", "wanted": False, "active": False}
    await session.execute(
        insert(Member).values(**row).on_conflict_do_update(index_elements=[Member.tenant_id, Member.id], set_=gone)
    )


async def note_group_member(session: AsyncSession, event: Received[GroupMemberSaved]) -> None:
    about = {"tenant_id": event.tenant_id, "group_id": event.data.group_id, "member_id": event.data.member_id}
    values = {"version": event.row_version, "inside": event.data.inside}
    await session.execute(
        insert(GroupMember)
        .values(**about, **values)
        .on_conflict_do_update(
            index_elements=[GroupMember.tenant_id, GroupMember.group_id, GroupMember.member_id],
            set_=values,
            where=GroupMember.version < event.row_version,
        )
    )


async def _apply(session: AsyncSession, event: Received[Any], member_id: Any, counter: str, **facts: object) -> None:
    """Set facts and their counter, where the event's version is newer. An answer of identity may come first."""
    values = {**facts, counter: event.row_version}
    row = {**_UNKNOWN, "tenant_id": event.tenant_id, "id": member_id, **values}
    column = getattr(Member, counter)
    await session.execute(
        insert(Member)
        .values(**row)
        .on_conflict_do_update(
            index_elements=[Member.tenant_id, Member.id],
            set_=values,
            where=(column < event.row_version) & (Member.life != "erased"),
        )
    )
