"""Keeps the projection. Each event is a level: applied where it is newer than what is known, never to a tombstone."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from uuid import UUID

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
    row = {"id": event.row_id, "profile_version": event.row_version, "life": event.data.life}
    await _apply(session, event.tenant_id, "profile_version", [row])


async def note_access(session: AsyncSession, events: Sequence[Received[AccessWanted]]) -> None:
    def wanted(data: AccessWanted) -> bool:
        return data.want == "invited" and "deactivated" not in data.blocked

    rows = [{"id": one.row_id, "access_version": one.row_version, "wanted": wanted(one.data)} for one in events]
    await _apply(session, events[0].tenant_id, "access_version", rows)


async def note_activation(session: AsyncSession, event: Received[MembershipActivated]) -> None:
    await _note_membership(session, event, active=True)


async def note_end(session: AsyncSession, event: Received[MembershipEnded]) -> None:
    await _note_membership(session, event, active=False)


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


async def _note_membership(
    session: AsyncSession, event: Received[MembershipActivated] | Received[MembershipEnded], *, active: bool
) -> None:
    row = {"id": event.data.member_id, "av": event.row_version, "active": active, "holder": event.data.holder}
    await _apply(session, event.tenant_id, "av", [row])


async def _apply(session: AsyncSession, tenant_id: UUID, counter: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Set facts and their counter, where that is newer than what is known. An answer of identity may come first."""
    new = insert(Member)
    facts = {name: new.excluded[name] for name in rows[0] if name != "id"}
    newer = (getattr(Member, counter) < new.excluded[counter]) & (Member.life != "erased")
    await session.execute(
        new.on_conflict_do_update(index_elements=[Member.tenant_id, Member.id], set_=facts, where=newer),
        [{**_UNKNOWN, "tenant_id": tenant_id, **row} for row in sorted(rows, key=itemgetter("id"))],
    )
