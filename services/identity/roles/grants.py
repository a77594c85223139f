"""The grants of a member: what she has from where, which rights that gives, and who else is an owner."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import among, now
from libs.common.permissions import Group, Role, may_grant, rights_of
from services.identity.memberships.tables import Membership
from services.identity.roles.tables import Grant
from services.identity.tenants.tables import Tenant

ROLE, PERMISSION_GROUP = "role", "permission_group"


class Names(msgspec.Struct, frozen=True):
    roles: list[str]
    permission_groups: list[str]


class Rights(msgspec.Struct, frozen=True):
    """ends_at: when the first of the grants behind them ends."""

    rights: frozenset[str]
    ends_at: datetime | None
    owner: bool


async def of_member(session: AsyncSession, member_id: UUID) -> list[Grant]:
    """Those that hold now, oldest first."""
    query = select(Grant).where(Grant.member_id == member_id, _holds()).order_by(Grant.id)
    return list((await session.scalars(query)).all())


async def names_of(session: AsyncSession, member_id: UUID) -> Names:
    """Everybody is a member; the other roles and the permission groups are granted."""
    held = await of_member(session, member_id)
    return Names(
        roles=sorted({Role.MEMBER.value, *(grant.name for grant in held if grant.kind == ROLE)}),
        permission_groups=sorted({grant.name for grant in held if grant.kind == PERMISSION_GROUP}),
    )


async def rights_of_member(session: AsyncSession, member_id: UUID) -> Rights:
    held = await of_member(session, member_id)
    roles = {Role(grant.name) for grant in held if grant.kind == ROLE}
    groups = {Group(grant.name) for grant in held if grant.kind == PERMISSION_GROUP}
    ends = [grant.ends_at for grant in held if grant.ends_at is not None]
    return Rights(rights_of(roles | {Role.MEMBER}, groups), min(ends, default=None), Role.OWNER in roles)


async def is_owner(session: AsyncSession, member_id: UUID) -> bool:
    return member_id in await owners_among(session, [member_id])


async def owners_among(session: AsyncSession, member_ids: Collection[UUID]) -> set[UUID]:
    query = select(Grant.member_id).where(among(Grant.member_id, member_ids), _is_owner())
    return set(await session.scalars(query))


async def other_owners(session: AsyncSession, member_id: UUID) -> bool:
    """Whether somebody else is an owner and can sign in. Means something only with the tenant's row locked."""
    able = (
        Membership.id != member_id,
        Membership.state == "active",
        Membership.blocked == [],
        or_(Membership.starts_at.is_(None), Membership.starts_at <= now()),
    )
    owners = select(Grant.member_id).where(_is_owner())
    query = select(Membership.id).where(Membership.id.in_(owners), *able).limit(1)
    return await session.scalar(query) is not None


async def give_presets(session: AsyncSession, membership: Membership) -> Names:
    """What the invitation presets, as far as who gave it might give it; gives what he might not."""
    roles, groups, refused = set[str](), set[str](), Names([], [])
    for role in membership.preset_roles:
        allowed = await _may_preset_role(session, membership, role)
        (roles.add if allowed else refused.roles.append)(role)
    for group in membership.preset_groups:
        allowed = group in set(Group) and may_grant(membership.preset_rights, [], [Group(group)])
        (groups.add if allowed else refused.permission_groups.append)(group)
    give(session, membership, roles - {Role.MEMBER}, groups, source="invitation", by=membership.presets_by)
    await session.flush()
    return refused


def give(
    session: AsyncSession,
    membership: Membership,
    roles: Iterable[str],
    groups: Iterable[str],
    *,
    source: str,
    by: UUID | None,
) -> None:
    for kind, names in ((ROLE, roles), (PERMISSION_GROUP, groups)):
        for name in sorted(names):
            grant = Grant(tenant_id=membership.tenant_id, member_id=membership.id, kind=kind, name=name)
            grant.source, grant.granted_by = source, by
            session.add(grant)


async def take_all(session: AsyncSession, member_id: UUID) -> None:
    await session.execute(delete(Grant).where(Grant.member_id == member_id))


async def _may_preset_role(session: AsyncSession, membership: Membership, role: str) -> bool:
    if role == Role.OWNER and membership.first_owner:
        return await _becomes_first_owner(session, membership)
    return role in set(Role) and may_grant(membership.preset_rights, [Role(role)], [])


async def _becomes_first_owner(session: AsyncSession, membership: Membership) -> bool:
    """An operator makes one owner in a tenant's life: whoever it was stays noted."""
    query = (
        update(Tenant)
        .where(Tenant.id == membership.tenant_id, Tenant.first_owner_id.is_(None))
        .values(first_owner_id=membership.id)
        .returning(Tenant.id)
    )
    return await session.scalar(query) is not None


def _holds() -> ColumnElement[bool]:
    return or_(Grant.ends_at.is_(None), Grant.ends_at > now())


def _is_owner() -> ColumnElement[bool]:
    return (Grant.kind == ROLE) & (Grant.name == Role.OWNER) & _holds()
