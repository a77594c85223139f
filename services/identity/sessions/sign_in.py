"""Sign-in: who is not there gets the same answer, after the same work, as who typed a wrong password."""

import secrets
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import PLATFORM, now, use_tenant
from libs.common.errors import Forbidden, Unauthenticated
from services.identity.doors import Doors
from services.identity.local_credentials.tables import LocalCredential
from services.identity.persons.tables import Person, PersonMembership
from services.identity.sessions.candidates import Candidate, account_of, find_candidate
from services.identity.sessions.closing import end_session
from services.identity.sessions.rules import choices, digest_of, find_session, open_tenant, tenant_of
from services.identity.sessions.tables import CookieSession
from services.identity.settings import Settings
from services.identity.tenants.tables import Tenant
from services.identity.throttling import rules as throttling
from services.identity.throttling.rules import Browser

_log = structlog.get_logger()


class SignInRefused(Unauthenticated):
    title = "Name or password is wrong, or there is no access"


class CredentialExpired(Forbidden):
    title = "The password you were given has expired: ask for a new one"


class Entry(msgspec.Struct, frozen=True):
    """A sign-in that worked. secret is the cookie's value; it is nowhere else."""

    secret: str
    session: CookieSession
    tenant: Tenant | None


async def sign_in(
    doors: Doors, browser: Browser, *, slug: str | None, login: str, password: str, secret: str | None = None
) -> Entry:
    """By login name or address at a tenant, by address alone at the global page. secret: of the session that this
    browser has; it is replaced. Raises SignInRefused, TooManyTries, or, after the right password, why not.
    """
    tenant_id = PLATFORM if slug is None else await tenant_of(doors, slug)
    account = account_of("sign-in", tenant_id, login)
    async with doors.database.session(tenant_id) as session:
        limits = await throttling.limits_of_sign_in(session, account, browser)
        await throttling.admit(session, limits)
        candidate = await find_candidate(session, tenant_id, login)
    if not await doors.passwords.verify(candidate.password_hash, password):
        _log.info("sign_in_refused", tenant_id=str(tenant_id), member_id=str(candidate.member_id))
        raise SignInRefused
    fresh = await _rehashed(doors, candidate, password)
    async with doors.database.session(tenant_id) as session:
        if await find_candidate(session, tenant_id, login) != candidate:
            raise SignInRefused  # changed while we looked
        await throttling.forgive(session, limits)
        await throttling.remember_device(session, account, browser)
        entry = await _enter(session, doors.settings, browser, candidate, secret)
        await _keep_hash(session, tenant_id, candidate, fresh)
        if slug is not None:
            return await _open_named(session, entry, tenant_id, candidate.member_id)
        return await _open_only(session, entry)


async def enter_person(
    session: AsyncSession, settings: Settings, browser: Browser, person_id: UUID, secret: str | None
) -> Entry:
    """For who has just proven herself otherwise: by a link and a new password."""
    return await _enter(session, settings, browser, Candidate(person_id=person_id), secret)


async def _enter(
    session: AsyncSession, settings: Settings, browser: Browser, candidate: Candidate, secret: str | None
) -> Entry:
    """A new secret always; the session itself goes on only where the same person signs in again."""
    must_change = await _must_change(session, candidate)
    one = await find_session(session, settings, secret)
    if one is not None and (one.person_id is None or one.person_id != candidate.person_id):
        await end_session(session, one)
        one = None
    if one is None:
        one = CookieSession(person_id=candidate.person_id)
        session.add(one)
    fresh = secrets.token_urlsafe(32)
    one.secret_digest, one.amr, one.agent = digest_of(fresh), ["pwd"], browser.agent
    one.signed_in_at = one.seen_at = now()
    one.ends_at = now() + timedelta(hours=settings.session_hours)
    one.must_change = must_change
    await session.flush()
    return Entry(fresh, one, None)


async def _must_change(session: AsyncSession, candidate: Candidate) -> bool:
    """Raises CredentialExpired for a password that was handed over and not used in time."""
    if candidate.person_id is not None:
        return False
    credential = await session.get_one(LocalCredential, (session.info["tenant_id"], candidate.member_id))
    if credential.expires_at is not None and credential.expires_at <= now():
        raise CredentialExpired
    return credential.must_change


async def _open_named(session: AsyncSession, entry: Entry, tenant_id: UUID, member_id: UUID | None) -> Entry:
    tenant = await open_tenant(session, entry.session, tenant_id, member_id)
    return Entry(entry.secret, entry.session, tenant)


async def _open_only(session: AsyncSession, entry: Entry) -> Entry:
    """Who has one tenant need not choose."""
    found = await choices(session, entry.session)
    if len(found) != 1:
        return entry
    await session.flush()
    await use_tenant(session, found[0].tenant_id)
    known = await session.get_one(PersonMembership, (entry.session.person_id, found[0].tenant_id))
    return await _open_named(session, entry, known.tenant_id, known.member_id)


async def _rehashed(doors: Doors, candidate: Candidate, password: str) -> str | None:
    stored = candidate.password_hash or ""
    return await doors.passwords.hash(password) if doors.passwords.needs_rehash(stored) else None


async def _keep_hash(session: AsyncSession, tenant_id: UUID, candidate: Candidate, fresh: str | None) -> None:
    if fresh is None:
        return
    if candidate.person_id is not None:
        (await session.get_one(Person, candidate.person_id)).password_hash = fresh
    else:
        (await session.get_one(LocalCredential, (tenant_id, candidate.member_id))).password_hash = fresh
