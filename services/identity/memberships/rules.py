"""What becomes of a membership: begun by an accepted invitation, ended by what members wants. Each change of what it
may do raises `av`, and with it a revocation: tokens from before are refused everywhere (R-10).

Locks are taken in one order: the tenant (where owners may be counted), the membership, then everything else.
"""

from collections.abc import Collection
from typing import Literal
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common import revocation
from libs.common.changes import Event, record, send
from libs.common.db import among
from libs.common.errors import NotFound
from libs.common.events.identity import GrantsRefused, MembershipActivated, MembershipEnded, RolesChanged
from libs.common.projections import wait_for_member
from libs.common.tokens import Actor
from services.identity.local_credentials.tables import LocalCredential
from services.identity.memberships.tables import Membership
from services.identity.persons import rules as persons
from services.identity.roles import grants
from services.identity.sessions.closing import close_member
from services.identity.tenants.rules import lock_tenant

Way = Literal["mail", "sso", "local"]


async def get_membership(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> Membership:
    """Waits for the event that tells of a new member. Raises NotFound, MemberNotKnownYet."""
    membership = await wait_for_member(member_id, lambda: session.get(Membership, (tenant_id, member_id)))
    if membership.state == "gone":
        raise NotFound
    return membership


async def lock_membership(
    session: AsyncSession, tenant_id: UUID, member_id: UUID, *, counting_owners: bool = False
) -> Membership:
    """Raises NotFound."""
    await get_membership(session, tenant_id, member_id)
    if counting_owners:
        await lock_tenant(session, tenant_id)
    membership = await find_locked(session, member_id)
    if membership is None or membership.state == "gone":
        raise NotFound
    return membership


async def find_locked(session: AsyncSession, member_id: UUID) -> Membership | None:
    return (await lock_all(session, [member_id])).get(member_id)


async def lock_all(session: AsyncSession, member_ids: Collection[UUID]) -> dict[UUID, Membership]:
    """Those that are there, as they are once the lock is held, whatever was read before."""
    query = select(Membership).where(among(Membership.id, member_ids)).order_by(Membership.id).with_for_update()
    found = await session.scalars(query.execution_options(populate_existing=True))
    return {membership.id: membership for membership in found}


def herself(membership: Membership) -> Actor:
    """The member acts before she has a token: accepting, declining, signing in."""
    return Actor(kind="member", id=membership.id, tenant_id=membership.tenant_id, expires_at=float("inf"))


async def activate(
    session: AsyncSession,
    actor: Actor,
    membership: Membership,
    *,
    way: Way,
    held_by: str,
    person_id: UUID | None = None,
) -> None:
    """An invitation was accepted. held_by names who holds the membership from now on: another one than the last raises
    `holder`, so that what was private to the last holder stays closed (design section 4).
    """
    if membership.held_by != held_by:
        if membership.held_by is not None:
            await persons.forget_membership(session, membership.held_by, membership)
        membership.holder += 1
        membership.held_by = held_by
    membership.state, membership.person_id = "active", person_id
    refused = await grants.give_presets(session, membership)
    await tell(
        session,
        actor,
        membership,
        MembershipActivated(membership.id, membership.epoch, membership.generation, membership.holder, way),
    )
    names = await grants.names_of(session, membership.id)
    await tell(
        session, actor, membership, RolesChanged(membership.id, membership.epoch, names.roles, names.permission_groups)
    )
    if refused.roles or refused.permission_groups:
        await tell(session, actor, membership, GrantsRefused(membership.id, refused.roles, refused.permission_groups))


async def end(session: AsyncSession, actor: Actor, membership: Membership) -> None:
    """Rights, local credential and sessions go with it. Nothing happens where there is none."""
    await close_member(session, membership.id)
    if membership.state != "active":
        return
    membership.state, membership.person_id = "none", None
    await grants.take_all(session, membership.id)
    await session.execute(delete(LocalCredential).where(LocalCredential.id == membership.id))
    await tell(session, actor, membership, MembershipEnded(membership.id, membership.epoch, membership.holder))


async def tell(session: AsyncSession, actor: Actor, membership: Membership, event: Event, **details: object) -> None:
    """Record an event that ends what tokens say: av rises with each, which also gives its events their order."""
    await raise_av(session, membership)
    record(session, actor, membership, event, **details)


async def raise_av(session: AsyncSession, membership: Membership) -> None:
    membership.av += 1
    await session.flush()
    notice = revocation.membership_below(membership.id, membership.av)
    send(session, membership, "revoked.membership", *notice, version=membership.av)
