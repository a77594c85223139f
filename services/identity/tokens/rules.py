"""Access tokens for who is signed in, and refresh tokens for clients that keep no cookie. What a token says is read
anew each time: rights, blocks, dates.
"""

import hmac
import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import PLATFORM, now, use_tenant
from libs.common.errors import Conflict, Unauthenticated
from libs.common.tokens import Actor
from services.identity.beats.rules import require_beats
from services.identity.doors import Doors
from services.identity.memberships.tables import Membership
from services.identity.roles import grants
from services.identity.sessions.closing import end_session
from services.identity.sessions.rules import (
    MustChangePassword,
    NoAccessHere,
    digest_of,
    get_session,
    require_usable,
)
from services.identity.sessions.tables import CookieSession, SessionMembership
from services.identity.tenants.rules import find_tenant_id, get_tenant
from services.identity.tokens.tables import RefreshFamily, RefreshToken

RETRY = timedelta(seconds=10)
"""In which the last used refresh token may be presented again, and gets the same successor: its answer was lost."""

_log = structlog.get_logger()


class SayWhichTenant(Conflict):
    title = "Several tenants are open: say which one by its slug"


class RefreshReused(Unauthenticated):
    """Somebody else has it too: the whole sign-in is ended, and that is kept."""

    keep = True
    title = "This refresh token was used before; the session has ended"


class AccessToken(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int


async def token_for_cookie(doors: Doors, secret: str | None, slug: str | None) -> AccessToken:
    """For the tenant of this slug, or the only one that is open. Raises NoAccessHere for one that is not open."""
    async with doors.database.session(PLATFORM) as session:
        one = await get_session(session, doors.settings, secret)
        return await _mint(session, doors, one, await _tenant_meant(session, one, slug))


async def start_family(doors: Doors, secret: str | None, slug: str | None) -> tuple[AccessToken, str]:
    """A first refresh token, for the same tenant as the access token beside it."""
    async with doors.database.session(PLATFORM) as session:
        one = await get_session(session, doors.settings, secret)
        tenant_id = await _tenant_meant(session, one, slug)
        access = await _mint(session, doors, one, tenant_id)
        family = RefreshFamily(session_id=one.id, tenant_id=tenant_id, newest=1)
        session.add(family)
        await session.flush()
        token = secrets.token_urlsafe(32)
        session.add(RefreshToken(digest=digest_of(token), family_id=family.id, place=1))
        return access, token


async def refresh(doors: Doors, token: str) -> tuple[AccessToken, str]:
    """The next pair. Raises Unauthenticated, RefreshReused, or why the tenant cannot be entered."""
    async with doors.database.session(PLATFORM) as session:
        presented = await session.get(RefreshToken, digest_of(token))
        family = await _lock_family(session, presented.family_id) if presented else None
        if presented is None or family is None:
            raise Unauthenticated
        await session.refresh(presented)
        one = await session.get_one(CookieSession, family.session_id)
        if not _may_be_used(family, presented):
            await end_session(session, one)
            _log.warning("refresh_token_reused", session_id=str(one.id), family_id=str(family.id))
            raise RefreshReused
        await _require_alive(doors, one)
        successor = await _successor(session, family, presented, token)
        return await _mint(session, doors, one, family.tenant_id), successor


def _may_be_used(family: RefreshFamily, presented: RefreshToken) -> bool:
    """The newest; or the one before it, for a moment, if its successor has not been used."""
    if presented.place == family.newest:
        return True
    just_now = presented.used_at is not None and now() - presented.used_at <= RETRY
    return just_now and presented.place == family.newest - 1


async def _successor(session: AsyncSession, family: RefreshFamily, presented: RefreshToken, token: str) -> str:
    """Derived from the token that is presented, so that a retry gets the same one and none is stored."""
    if presented.salt is None:
        presented.salt, presented.used_at = secrets.token_bytes(32), now()
        family.newest = presented.place + 1
        successor = _derived(presented.salt, token)
        session.add(RefreshToken(digest=digest_of(successor), family_id=family.id, place=family.newest))
        await session.flush()
    return _derived(presented.salt, token)


def _derived(salt: bytes, token: str) -> str:
    return hmac.new(salt, token.encode(), sha256).hexdigest()


async def _lock_family(session: AsyncSession, family_id: UUID) -> RefreshFamily | None:
    query = select(RefreshFamily).where(RefreshFamily.id == family_id).with_for_update()
    return await session.scalar(query)


async def _require_alive(doors: Doors, one: CookieSession) -> None:
    if one.ends_at <= now():
        raise Unauthenticated
    one.seen_at = now()


async def _tenant_meant(session: AsyncSession, one: CookieSession, slug: str | None) -> UUID:
    """Raises NoAccessHere, SayWhichTenant."""
    if slug is not None:
        tenant_id = await find_tenant_id(session, slug)
        if tenant_id is None:
            raise NoAccessHere
        return tenant_id
    query = select(SessionMembership.tenant_id).where(SessionMembership.session_id == one.id).limit(2)
    found = (await session.scalars(query)).all()
    if len(found) != 1:
        raise SayWhichTenant if found else NoAccessHere
    return found[0]


async def _mint(session: AsyncSession, doors: Doors, one: CookieSession, tenant_id: UUID) -> AccessToken:
    """Raises NoAccessHere, AccessBarred, TenantClosed, MustChangePassword, RevocationsDelayed."""
    opened = await session.get(SessionMembership, (one.id, tenant_id))
    if opened is None:
        raise NoAccessHere
    if one.must_change:
        raise MustChangePassword
    await require_beats(session)
    await session.flush()
    await use_tenant(session, tenant_id)
    membership = await session.get(Membership, (tenant_id, opened.member_id))
    if membership is None or (opened.epoch, opened.cut) != (membership.epoch, membership.cut):
        raise NoAccessHere
    await require_usable(session, await get_tenant(session, tenant_id), membership)
    found = await grants.rights_of_member(session, membership.id)
    ends = [one.ends_at, found.ends_at, None if found.owner else membership.ends_at]
    actor = Actor(
        kind="member",
        id=membership.id,
        tenant_id=tenant_id,
        session_id=str(one.id),
        person_id=one.person_id,  # a provider vouches for the membership, not for who she is elsewhere
        authorisation_version=membership.av,
        holder=membership.holder,
        amr=tuple(one.amr),
        auth_time=int(one.signed_in_at.timestamp()),
        rights=found.rights,
        expires_at=_earliest(ends),
    )
    token, expires = doors.tokens.mint(actor)
    return AccessToken(token, expires - int(now().timestamp()))


def _earliest(ends: list[datetime | None]) -> float:
    return min((one.timestamp() for one in ends if one is not None), default=float("inf"))
