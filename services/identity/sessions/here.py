"""Who is signed in in this browser, as a page shows it; changes nothing."""

from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import PLATFORM, now
from libs.common.errors import Unauthenticated
from services.identity.doors import Doors
from services.identity.memberships.standing import bar_to_sign_in
from services.identity.memberships.tables import Membership
from services.identity.persons import rules as persons
from services.identity.persons.tables import PersonMembership
from services.identity.roles import grants
from services.identity.sessions.rules import (
    Choice,
    MustChangePassword,
    choices,
    end_own,
    find_session,
    list_sessions,
    require_session,
)
from services.identity.sessions.tables import CookieSession, SessionMembership


class Here(msgspec.Struct, frozen=True):
    """who: a person's oldest address, or the login name of a local credential."""

    session: CookieSession
    who: str
    membership: Membership | None = None
    """Hers in this tenant, where she may use it now."""
    opened: bool = False


async def find_here(doors: Doors, secret: str | None, tenant_id: UUID | None) -> Here | None:
    """None where nobody is signed in."""
    async with doors.database.session(tenant_id or PLATFORM) as session:
        one = await find_session(session, doors.settings, secret)
        return await _here(session, one, tenant_id) if one else None


async def require_here(doors: Doors, secret: str | None, tenant_id: UUID, *, to_change: bool = False) -> Here:
    """Raises Unauthenticated where nobody is signed in to this tenant, MustChangePassword unless that is being done."""
    here = await find_here(doors, secret, tenant_id)
    if here is None or not here.opened:
        raise Unauthenticated
    if here.session.must_change and not to_change:
        raise MustChangePassword
    return here


async def find_choices(doors: Doors, secret: str | None) -> list[Choice]:
    async with doors.database.session(PLATFORM) as session:
        return await choices(session, await require_session(session, doors.settings, secret))


async def find_own(doors: Doors, here: Here) -> list[CookieSession]:
    async with doors.database.session(PLATFORM) as session:
        return await list_sessions(session, person_id=here.session.person_id, member_id=_member_id(here))


async def end_some(doors: Doors, here: Here, session_id: UUID | None) -> None:
    """One of one's own, or (None) all others. Raises NotFound."""
    async with doors.database.session(PLATFORM) as session:
        await end_own(
            session,
            person_id=here.session.person_id,
            member_id=_member_id(here),
            current=here.session.id,
            session_id=session_id,
        )


def _member_id(here: Here) -> UUID | None:
    return here.membership.id if here.membership else None


async def _here(session: AsyncSession, one: CookieSession, tenant_id: UUID | None) -> Here:
    opened = await session.get(SessionMembership, (one.id, tenant_id)) if tenant_id else None
    membership = await _membership(session, one, opened, tenant_id)
    is_open = bool(opened and membership and (opened.epoch, opened.cut) == (membership.epoch, membership.cut))
    return Here(one, await _who(session, one, membership), membership, is_open)


async def _membership(
    session: AsyncSession, one: CookieSession, opened: SessionMembership | None, tenant_id: UUID | None
) -> Membership | None:
    member_id = opened.member_id if opened else None
    if member_id is None and one.person_id is not None:
        mine = (PersonMembership.person_id == one.person_id, PersonMembership.tenant_id == tenant_id)
        member_id = await session.scalar(select(PersonMembership.member_id).where(*mine))
    membership = await session.get(Membership, (tenant_id, member_id)) if member_id else None
    vouched = opened is not None and one.person_id is None  # by its own credential, or by the tenant's provider
    if membership is None or not (vouched or membership.person_id == one.person_id):
        return None
    owner = await grants.is_owner(session, membership.id)
    return membership if bar_to_sign_in(membership, now(), owner=owner) is None else None


async def _who(session: AsyncSession, one: CookieSession, membership: Membership | None) -> str:
    if one.person_id is None:
        return membership.login_name if membership else ""
    addresses = await persons.addresses_of(session, one.person_id)
    return addresses[0].address if addresses else ""
