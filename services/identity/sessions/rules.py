"""Sessions: one sign-in of one browser, and the tenants that it has opened. Sign-in itself is in sign_in.py."""

import hashlib
from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import record
from libs.common.db import PLATFORM, now, use_tenant
from libs.common.errors import Conflict, Forbidden, NotFound, Unauthenticated
from libs.common.events.identity import SignedIn
from services.identity.doors import Doors
from services.identity.memberships.rules import herself
from services.identity.memberships.standing import bar_to_sign_in
from services.identity.memberships.tables import Membership
from services.identity.persons.tables import PersonMembership
from services.identity.roles import grants
from services.identity.sessions.closing import end_session
from services.identity.sessions.tables import CookieSession, SessionMembership
from services.identity.settings import Settings
from services.identity.tenants.rules import find_tenant, find_tenant_id
from services.identity.tenants.tables import Tenant

_TOUCHED_EVERY = timedelta(minutes=1)
CHOICES = 50


class AccessBarred(Forbidden):
    """Told to who has shown the right password only. With cause: locked, deactivated, outside_dates, marked_deleted."""

    title = "The access is blocked"


class NoAccessHere(Forbidden):
    title = "You have no access to this tenant"


class TenantClosed(Forbidden):
    title = "This tenant is closed"


class MustChangePassword(Conflict):
    title = "Choose a password of your own first"


class Choice(msgspec.Struct, frozen=True):
    """A tenant that a person may sign in to."""

    tenant_id: UUID
    slug: str
    name: str
    opened: bool


async def find_session(session: AsyncSession, settings: Settings, secret: str | None) -> CookieSession | None:
    """The session of this cookie, if it is neither idle for too long nor past its time."""
    if not secret:
        return None
    one = await session.scalar(select(CookieSession).where(CookieSession.secret_digest == digest_of(secret)))
    if one is None:
        return None
    idle_since = now() - timedelta(minutes=settings.session_idle_minutes)
    return one if one.ends_at > now() and one.seen_at > idle_since else None


async def require_session(session: AsyncSession, settings: Settings, secret: str | None) -> CookieSession:
    """Raises Unauthenticated. Changes nothing: a page that is only looked at keeps no session awake."""
    one = await find_session(session, settings, secret)
    if one is None:
        raise Unauthenticated
    return one


async def get_session(session: AsyncSession, settings: Settings, secret: str | None) -> CookieSession:
    """Raises Unauthenticated. Being used keeps it awake."""
    one = await require_session(session, settings, secret)
    if now() - one.seen_at > _TOUCHED_EVERY:
        one.seen_at = now()
    return one


async def choices_of(doors: Doors, one: CookieSession) -> list[Choice]:
    async with doors.database.session(PLATFORM) as session:
        return await choices(session, one)


async def choices(session: AsyncSession, one: CookieSession) -> list[Choice]:
    """Tenants that she may enter now, CHOICES at most, in the order of their names."""
    query = select(PersonMembership).where(PersonMembership.person_id == one.person_id).limit(CHOICES)
    opened = set((await session.scalars(_opened(one))).all())
    found = []
    back = session.info["tenant_id"]
    for known in (await session.scalars(query)).all():
        await use_tenant(session, known.tenant_id)
        tenant = await find_tenant(session, known.tenant_id)
        membership = await session.get(Membership, (known.tenant_id, known.member_id))
        if tenant is None or tenant.state == "closed" or membership is None:
            continue
        owner = await grants.is_owner(session, membership.id)
        if membership.person_id == one.person_id and bar_to_sign_in(membership, now(), owner=owner) is None:
            found.append(Choice(tenant.id, tenant.slug, tenant.display_name, tenant.id in opened))
    await use_tenant(session, back)
    return sorted(found, key=lambda choice: choice.name.casefold())


async def open_tenant(session: AsyncSession, one: CookieSession, tenant_id: UUID, member_id: UUID | None) -> Tenant:
    """The session's tenant is this one. Raises NoAccessHere, AccessBarred, TenantClosed."""
    tenant = await find_tenant(session, tenant_id)
    membership = await session.get(Membership, (tenant_id, member_id)) if member_id else None
    if tenant is None or membership is None or membership.person_id != one.person_id:
        raise NoAccessHere
    await require_usable(session, tenant, membership)
    values = {"member_id": membership.id, "epoch": membership.epoch, "cut": membership.cut, "opened_at": now()}
    query = insert(SessionMembership).values(session_id=one.id, tenant_id=tenant_id, **values)
    await session.execute(query.on_conflict_do_update(index_elements=["session_id", "tenant_id"], set_=values))
    if not one.must_change:
        note_sign_in(session, membership)
    return tenant


def require_tenant_open(tenant: Tenant) -> None:
    """Raises TenantClosed."""
    if tenant.state == "closed":
        raise TenantClosed


async def require_usable(session: AsyncSession, tenant: Tenant, membership: Membership) -> None:
    """Raises TenantClosed, NoAccessHere or AccessBarred."""
    require_tenant_open(tenant)
    cause = bar_to_sign_in(membership, now(), owner=await grants.is_owner(session, membership.id))
    if cause == "ended":
        raise NoAccessHere
    if cause is not None:
        raise AccessBarred(cause=cause)


async def switch_tenant(doors: Doors, secret: str | None, slug: str) -> Tenant:
    """Open another tenant with the person's own sign-in. Raises NoAccessHere also for a tenant that is not there."""
    tenant_id = await find_tenant_of(doors, slug)
    async with doors.database.session(tenant_id or PLATFORM) as session:
        one = await get_session(session, doors.settings, secret)
        if tenant_id is None or one.person_id is None:
            raise NoAccessHere
        known = await session.get(PersonMembership, (one.person_id, tenant_id))
        return await open_tenant(session, one, tenant_id, known.member_id if known else None)


async def leave_tenant(doors: Doors, secret: str | None, slug: str) -> None:
    """Ends this tenant's row only."""
    async with doors.database.session(PLATFORM) as session:
        one = await get_session(session, doors.settings, secret)
        tenant_id = await find_tenant_id(session, slug)
        opened = await session.get(SessionMembership, (one.id, tenant_id)) if tenant_id else None
        if opened is None:
            raise NotFound
        await session.delete(opened)


async def list_sessions(
    session: AsyncSession, *, person_id: UUID | None, member_id: UUID | None
) -> list[CookieSession]:
    """One's own, newest first: a person's in all tenants, or those of a membership's own credential or provider."""
    mine = select(SessionMembership.session_id).where(SessionMembership.member_id == member_id)
    not_a_persons = CookieSession.id.in_(mine) & CookieSession.person_id.is_(None)
    whose = not_a_persons if person_id is None else CookieSession.person_id == person_id
    query = select(CookieSession).where(whose, CookieSession.ends_at > now())
    return list((await session.scalars(query.order_by(CookieSession.signed_in_at.desc()))).all())


async def end_own(
    session: AsyncSession, *, person_id: UUID | None, member_id: UUID | None, current: UUID, session_id: UUID | None
) -> None:
    """One of one's own sessions, or (None) all but the current one. Raises NotFound."""
    found = await list_sessions(session, person_id=person_id, member_id=member_id)
    wanted = [one for one in found if one.id == session_id or (session_id is None and one.id != current)]
    if session_id is not None and not wanted:
        raise NotFound
    for one in wanted:
        await end_session(session, one)


async def sign_out(doors: Doors, secret: str | None) -> None:
    """Nothing happens where nobody is signed in."""
    async with doors.database.session(PLATFORM) as session:
        one = await find_session(session, doors.settings, secret)
        if one is not None:
            await end_session(session, one)


def note_sign_in(session: AsyncSession, membership: Membership) -> None:
    record(session, herself(membership), membership, SignedIn(membership.id, now()))


async def tenant_of(doors: Doors, slug: str) -> UUID:
    """Raises NotFound."""
    tenant_id = await find_tenant_of(doors, slug)
    if tenant_id is None:
        raise NotFound
    return tenant_id


async def find_tenant_of(doors: Doors, slug: str) -> UUID | None:
    async with doors.database.session(PLATFORM) as session:
        return await find_tenant_id(session, slug)


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _opened(one: CookieSession) -> Select[UUID]:
    return select(SessionMembership.tenant_id).where(SessionMembership.session_id == one.id)
