"""What may happen to tenants. Operators make them and set seats, class and state; the rest is the tenant's own."""

import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import record
from libs.common.db import use_tenant
from libs.common.errors import Conflict, NotFound, Outdated, Unprocessable
from libs.common.events.members import TenantSaved
from libs.common.permissions import Role
from libs.common.tokens import Actor
from services.members import hold
from services.members.access.rules import send_invitation
from services.members.facts import Action
from services.members.people.rules import Profile, add_member, set_address
from services.members.people.tables import Member
from services.members.seats.rules import lock_tenant
from services.members.tenants.tables import Tenant, TenantRoute


class SlugTaken(Conflict):
    title = "Another tenant has this slug"


class UnknownTimeZone(Unprocessable):
    title = "There is no such time zone"


class OwnerHasAccepted(Conflict):
    title = "The first owner has accepted: from here on owners look after owners"


async def create_tenant(
    session: AsyncSession,
    actor: Actor,
    *,
    slug: str,
    name: str,
    locale: str,
    time_zone: str,
    seats: int,
    owner: Profile,
) -> Tenant:
    """With its first owner, invited at once. session: of no tenant yet; it is in the new one afterwards.

    Raises SlugTaken, UnknownTimeZone, AddressMalformed.
    """
    _require_time_zone(time_zone)
    tenant_id: UUID = (await session.execute(select(func.uuidv7()))).scalar_one()
    route = insert(TenantRoute).values(slug=slug, tenant_id=tenant_id).on_conflict_do_nothing()
    if (await session.execute(route.returning(TenantRoute.slug))).first() is None:
        raise SlugTaken(slug=slug)
    await use_tenant(session, tenant_id)
    tenant = Tenant(
        tenant_id=tenant_id, id=tenant_id, slug=slug, name=name, locale=locale, time_zone=time_zone, seat_limit=seats
    )
    session.add(tenant)
    await _save(session, actor, tenant, seats=seats)
    held = await add_member(session, actor, owner)
    held.member.first_owner = True
    held.member.preset_roles = sorted([Role.MEMBER, Role.OWNER])
    await send_invitation(session, actor, held)
    return tenant


def owner_profile(email: str, login_name: str | None, display_name: str | None, locale: str) -> Profile:
    """What is not said comes from the address."""
    login_name = login_name or email.partition("@")[0].strip()
    return Profile(login_name=login_name, display_name=display_name or login_name, email=email, locale=locale)


async def readdress_owner(session: AsyncSession, actor: Actor, *, email: str) -> None:
    """Before the first owner has accepted, operators may send the invitation elsewhere, or again.

    session: in the tenant. Raises NotFound, OwnerHasAccepted, AddressMalformed, EmailTaken.
    """
    await get_tenant(session)
    member_id = await session.scalar(select(Member.id).where(Member.first_owner, Member.access != "active"))
    if member_id is None:
        raise OwnerHasAccepted
    held = await hold.hold(session, actor, member_id, Action.INVITE)
    before = held.member.email
    await set_address(session, actor, held, email)
    await send_invitation(session, actor, held, fact="readdressed", edited={"email": [before, held.member.email]})


async def edit_tenant(session: AsyncSession, actor: Actor, changed: Mapping[str, Any], *, version: int) -> Tenant:
    """changed: columns of the tenant. Raises Outdated, UnknownTimeZone, NotFound."""
    tenant = await lock_tenant(session)
    if tenant.version != version:
        raise Outdated(version=tenant.version)
    before = {name: getattr(tenant, name) for name in changed}
    if before == changed:
        return tenant
    if "time_zone" in changed:
        _require_time_zone(changed["time_zone"])
    for name, value in changed.items():
        setattr(tenant, name, value)
    tenant.version += 1
    edited = {name: [before[name], value] for name, value in changed.items() if before[name] != value}
    await _save(session, actor, tenant, edited=edited)
    return tenant


async def get_tenant(session: AsyncSession) -> Tenant:
    """The session's own. Raises NotFound."""
    tenant: Tenant | None = await session.scalar(select(Tenant))
    if tenant is None:
        raise NotFound
    return tenant


async def list_tenants(session: AsyncSession, *, after: UUID | None, limit: int) -> Sequence[Any]:
    """Newest first, what operators may see. The session is the operator role's."""
    query = select(*SEEN_BY_OPERATORS).order_by(Tenant.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Tenant.id < after)
    return (await session.execute(query)).all()


SEEN_BY_OPERATORS = (
    Tenant.id, Tenant.created_at, Tenant.slug, Tenant.name, Tenant.locale, Tenant.time_zone, Tenant.state,
    Tenant.mail_class, Tenant.seat_limit, Tenant.seats_used, Tenant.seats_reserved, Tenant.version,
)  # fmt: skip


async def _save(session: AsyncSession, actor: Actor, tenant: Tenant, **details: object) -> None:
    await session.flush()
    saved = TenantSaved(
        slug=tenant.slug,
        display_name=tenant.name,
        locale=tenant.locale,
        time_zone=tenant.time_zone,
        state=tenant.state,  # type: ignore[arg-type]
        colour=tenant.colour,
        imprint_url=tenant.imprint_url,
        privacy_url=tenant.privacy_url,
        mail_class=tenant.mail_class,  # type: ignore[arg-type]
    )
    record(session, actor, tenant, saved, **details)


def _require_time_zone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise UnknownTimeZone(field="time_zone")
