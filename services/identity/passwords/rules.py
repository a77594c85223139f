"""A password of one's own: changed with the current one, or set by a link that was mailed (resets.py). Either way every
other session ends, older links die, and a person is told by mail.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note, record
from libs.common.db import PLATFORM, use_tenant
from libs.common.errors import NotFound, Unauthenticated, Unprocessable
from libs.common.events.identity import PasswordChanged
from libs.common.passwords import check_password
from libs.common.tokens import Actor
from services.identity.doors import Doors
from services.identity.local_credentials.tables import LocalCredential
from services.identity.memberships import rules as memberships
from services.identity.persons import rules as persons
from services.identity.persons.tables import Person
from services.identity.platform import in_platform
from services.identity.sessions.closing import end_sessions_of
from services.identity.sessions.rules import end_own, get_session, note_sign_in
from services.identity.sessions.tables import CookieSession, SessionMembership
from services.identity.tenants.rules import get_tenant
from services.identity.throttling import rules as throttling
from services.identity.throttling.rules import Browser


class WrongPassword(Unprocessable):
    title = "The current password is wrong"


async def change_password(doors: Doors, browser: Browser, *, secret: str | None, current: str | None, new: str) -> None:
    """For who is signed in, by whichever credential. current may be left out only where the password was handed over
    and has just been used to sign in. Raises Unauthenticated, WrongPassword, PasswordRefused.
    """
    async with doors.database.session(PLATFORM) as session:
        one = await get_session(session, doors.settings, secret)
        account = throttling.digest("change", one.id)
        limits = await throttling.limits_of_sign_in(session, account, browser)
        await throttling.admit(session, limits)
        stored, tenant_id, words = await _credential_of(session, one)
    if not (one.must_change and current is None) and not await doors.passwords.verify(stored, current or ""):
        raise WrongPassword(field="current")
    check_password(new, about=words)
    fresh = await doors.passwords.hash(new)
    async with doors.database.session(tenant_id) as session:
        one = await get_session(session, doors.settings, secret)
        await throttling.forgive(session, limits)
        if one.person_id is not None:
            person = await lock_person(session, one.person_id)
            if person.password_hash != stored:
                raise WrongPassword(field="current")
            await set_password(session, person, fresh, keep=one.id)
        else:
            await _set_local(session, one, tenant_id, stored, fresh)


async def set_password(session: AsyncSession, person: Person, password_hash: str, *, keep: UUID | None) -> None:
    """keep: the session in which she changes it goes on; all others end."""
    person.password_hash = password_hash
    person.reset_generation += 1  # links that are under way die with the old password
    await end_sessions_of(session, person.id, but=keep)
    addresses = await persons.addresses_of(session, person.id)
    async with in_platform(session):
        event = PasswordChanged(person.id, addresses[0].address, person.display_name, person.locale)
        record(session, _herself(person), person, event)


async def _set_local(
    session: AsyncSession, one: CookieSession, tenant_id: UUID, stored: str | None, fresh: str
) -> None:
    opened = await session.scalar(select(SessionMembership).where(SessionMembership.session_id == one.id))
    if opened is None:
        raise Unauthenticated
    membership = await memberships.lock_membership(session, tenant_id, opened.member_id)
    credential = await session.get(LocalCredential, (tenant_id, opened.member_id))
    if credential is None or credential.password_hash != stored:
        raise WrongPassword(field="current")
    credential.password_hash, credential.must_change, credential.expires_at = fresh, False, None
    credential.version += 1
    await end_own(session, person_id=None, member_id=membership.id, current=one.id, session_id=None)
    await session.flush()
    note(session, memberships.herself(membership), credential, "identity.local_credential.changed")
    if one.must_change:
        one.must_change = False
        note_sign_in(session, membership)


async def _credential_of(session: AsyncSession, one: CookieSession) -> tuple[str | None, UUID, tuple[str, ...]]:
    """The stored hash, the tenant that it belongs to (zero for a person's), the words a new one is not made of."""
    if one.person_id is not None:
        person = await session.get_one(Person, one.person_id)
        addresses = [found.address for found in await persons.addresses_of(session, person.id)]
        return person.password_hash, PLATFORM, (person.display_name, *addresses)
    opened = await session.scalar(select(SessionMembership).where(SessionMembership.session_id == one.id))
    if opened is None:
        raise Unauthenticated
    return await _local_credential_of(session, opened)


async def _local_credential_of(
    session: AsyncSession, opened: SessionMembership
) -> tuple[str | None, UUID, tuple[str, ...]]:
    await session.flush()
    await use_tenant(session, opened.tenant_id)
    credential = await session.get(LocalCredential, (opened.tenant_id, opened.member_id))
    membership = await memberships.get_membership(session, opened.tenant_id, opened.member_id)
    tenant = await get_tenant(session, opened.tenant_id)
    words = (tenant.display_name, tenant.slug, membership.display_name, membership.login_name)
    return credential.password_hash if credential else None, opened.tenant_id, words


async def lock_person(session: AsyncSession, person_id: UUID) -> Person:
    """Raises NotFound for one who has just been erased."""
    query = select(Person).where(Person.id == person_id).with_for_update(key_share=True)
    person = await session.scalar(query.execution_options(populate_existing=True))
    if person is None:
        raise NotFound
    return person


def _herself(person: Person) -> Actor:
    return Actor(kind="member", id=person.id, tenant_id=PLATFORM, person_id=person.id, expires_at=float("inf"))
