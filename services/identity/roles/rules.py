"""Who gives and takes roles (design section 5): never more than one has, owner and admin by owners only, and never the
last owner who can sign in (R-09). Asked with the tenant's row locked.
"""

from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.errors import Conflict, Forbidden, Outdated
from libs.common.events.identity import RolesChanged
from libs.common.permissions import Group, Permission, Role, may_grant
from libs.common.tokens import Actor
from services.identity.memberships import rules as memberships
from services.identity.memberships.tables import Membership
from services.identity.roles import grants
from services.identity.roles.grants import Names
from services.identity.roles.tables import Grant

BY_HAND = ("manual", "invitation")
"""Sources that people change; the others belong to what is synchronised (R-15)."""


class NotActive(Conflict):
    title = "The member has no access yet: change what the invitation presets"


class MayNotGrant(Forbidden):
    """With roles and permission_groups that are asked to be given or taken."""

    title = "Nobody gives or takes a role or a right that he lacks"


class OwnersOnly(Forbidden):
    title = "An owner is changed by owners only"


class LastOwner(Conflict):
    title = "The tenant would lose its last owner who can sign in: make somebody else owner first"


async def read_roles(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> tuple[Membership, list[Grant]]:
    """Raises NotFound."""
    membership = await memberships.get_membership(session, tenant_id, member_id)
    return membership, await grants.of_member(session, member_id)


async def set_roles(
    session: AsyncSession,
    actor: Actor,
    tenant_id: UUID,
    member_id: UUID,
    *,
    roles: set[Role],
    groups: set[Group],
    version: int,
) -> tuple[Membership, list[Grant]]:
    """What the member has by hand from now on. version: the membership's av that was read."""
    membership = await memberships.lock_membership(session, tenant_id, member_id, counting_owners=True)
    if membership.state != "active":
        raise NotActive
    if membership.av != version:
        raise Outdated(version=membership.av)
    held = [grant for grant in await grants.of_member(session, member_id) if grant.source in BY_HAND]
    had = names_of(held)
    wanted = Names(sorted(roles - {Role.MEMBER}), sorted(groups))
    if had != wanted:
        await _require_allowed(session, actor, membership, had, wanted)
        await _replace(session, actor, membership, held, wanted)
        names = await grants.names_of(session, member_id)
        event = RolesChanged(member_id, membership.epoch, names.roles, names.permission_groups)
        await memberships.tell(session, actor, membership, event, before=had)
    return membership, await grants.of_member(session, member_id)


async def _require_allowed(
    session: AsyncSession, actor: Actor, membership: Membership, had: Names, wanted: Names
) -> None:
    if await grants.is_owner(session, membership.id) and Permission.TENANT_OWN not in actor.rights:
        raise OwnersOnly
    roles = {Role(name) for name in set(had.roles) ^ set(wanted.roles)}
    groups = {Group(name) for name in set(had.permission_groups) ^ set(wanted.permission_groups)}
    if not may_grant(actor.rights, roles, groups):
        raise MayNotGrant(roles=sorted(roles), permission_groups=sorted(groups))
    loses_owner = Role.OWNER in had.roles and Role.OWNER not in wanted.roles
    if loses_owner and not await grants.other_owners(session, membership.id):
        raise LastOwner


async def _replace(
    session: AsyncSession, actor: Actor, membership: Membership, held: list[Grant], wanted: Names
) -> None:
    """Grants that stay keep their source and who gave them."""
    had = names_of(held)
    keep = set(wanted.roles) | set(wanted.permission_groups)
    gone = [grant.id for grant in held if grant.name not in keep]
    await session.execute(delete(Grant).where(Grant.member_id == membership.id, Grant.id.in_(gone)))
    more = (set(wanted.roles) - set(had.roles), set(wanted.permission_groups) - set(had.permission_groups))
    grants.give(session, membership, *more, source="manual", by=actor.id)
    await session.flush()


def names_of(held: list[Grant]) -> Names:
    return Names(
        sorted({grant.name for grant in held if grant.kind == grants.ROLE}),
        sorted({grant.name for grant in held if grant.kind == grants.PERMISSION_GROUP}),
    )
