"""Who a member is to mail: her entry, and the column of the status matrix that she stands in."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import among
from services.notifier.address_book.matrix import Column
from services.notifier.address_book.tables import Entry

GONE = frozenset({"erasing", "anonymised", "erased"})


async def find_entry(session: AsyncSession, member_id: UUID) -> Entry | None:
    return (await find_entries(session, [member_id])).get(member_id)


async def find_entries(session: AsyncSession, member_ids: Collection[UUID]) -> dict[UUID, Entry]:
    """By member, of those who are known."""
    found = await session.scalars(select(Entry).where(among(Entry.member_id, member_ids)))
    return {entry.member_id: entry for entry in found}


async def hold_entry(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> Entry:
    """Her entry, locked; an empty one where this is the first that is heard of her."""
    return (await hold_entries(session, tenant_id, [member_id]))[member_id]


async def hold_entries(session: AsyncSession, tenant_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, Entry]:
    blank = [{"tenant_id": tenant_id, "member_id": member_id} for member_id in sorted(member_ids)]
    await session.execute(insert(Entry).on_conflict_do_nothing(), blank)
    query = select(Entry).where(among(Entry.member_id, member_ids)).order_by(Entry.member_id).with_for_update()
    return {entry.member_id: entry for entry in await session.scalars(query)}


def is_gone(entry: Entry | None) -> bool:
    return entry is not None and entry.life in GONE


def column(entry: Entry, now: datetime, *, invited: bool = False) -> Column:
    """The first that applies (design section 2). invited: an invitation is at hand that the entry may not know yet."""
    if entry.life in ("erasing", "erased"):
        return "erased"
    if entry.life == "anonymised":
        return "anonymised"
    if entry.life == "marked_deleted" or "marked_deleted" in entry.blocked:
        return "marked_deleted"
    if "locked" in entry.blocked and (entry.locked_until is None or entry.locked_until > now):
        return "locked"
    if "deactivated" in entry.blocked or "outside_dates" in entry.blocked:
        return "inactive"
    if entry.access == "active":
        return "active"
    if entry.access == "invited" or invited:
        return "invited"
    return "revoked" if entry.access == "revoked" else "added"
