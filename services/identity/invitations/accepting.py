"""Accepting and declining by the link (R-01, R-05, R-06): the link proves the address, a person's own password proves
the person, and the invitation's row decides who was first.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.errors import Conflict
from libs.common.passwords import check_password
from libs.common.permissions import Role
from libs.common.text import canonical_address, masked_address
from services.identity.doors import Doors
from services.identity.invitations import rules
from services.identity.invitations.rules import Opened
from services.identity.memberships import rules as memberships
from services.identity.memberships.standing import Cause, bar_to_sign_in
from services.identity.persons import rules as persons
from services.identity.persons.rules import PersonKnown
from services.identity.roles import grants
from services.identity.sessions.rules import find_session, get_session, open_tenant, require_tenant_open
from services.identity.sessions.sign_in import Entry, enter_person
from services.identity.sessions.tables import CookieSession
from services.identity.tenants.rules import get_tenant
from services.identity.tenants.tables import Tenant
from services.identity.throttling.rules import Browser

Turn = Literal["new", "sign_in", "confirm", "mismatch"]
"""Whose turn it is in this browser: a new person's, who chooses a password; a known one's, who signs in, or confirms;
nobody's while somebody else is signed in.
"""


class AccountMismatch(Conflict):
    """With invited and signed_in, both masked. The invitation stays; sign out, and accept as who was invited."""

    title = "Somebody else is signed in here than was invited"


class Look(msgspec.Struct, frozen=True):
    """What the page behind a link shows. signed_in: the masked address of who is."""

    tenant: Tenant
    opened: Opened
    turn: Turn
    signed_in: str


class Accepted(msgspec.Struct, frozen=True):
    """waits: why she cannot sign in yet; before the entry date until starts_at."""

    tenant: Tenant
    entry: Entry
    waits: Cause | None
    starts_at: datetime | None


async def look(doors: Doors, *, tenant_id: UUID, code: str, secret: str | None) -> Look:
    """Changes nothing, however often it is asked. Raises why the link does not work."""
    async with doors.database.session(tenant_id) as session:
        opened = await rules.open_link(session, doors.links, code)
        rules.require_open(opened)
        one = await find_session(session, doors.settings, secret)
        tenant = await get_tenant(session, opened.membership.tenant_id)
        seen = await _look(session, tenant, opened, one)
        if seen.turn != "new":
            await _require_still_open(session, opened)  # by accepting just now she may have become a person
        return seen


async def locale_of_invited(doors: Doors, *, tenant_id: UUID, code: str) -> str | None:
    """Whatever became of the invitation: its pages speak her language (R-27). Raises a LinkError."""
    async with doors.database.session(tenant_id) as session:
        return (await rules.open_link(session, doors.links, code)).membership.locale


async def accept_as_new(
    doors: Doors, browser: Browser, *, tenant_id: UUID, code: str, password: str, secret: str | None
) -> Accepted:
    """The link proves the address, so that a person is made of it, with this password (D-11, D-12). Raises PersonKnown
    where there is one already, AccountMismatch, PasswordRefused, TenantClosed, or why the link does not work.
    """
    seen = await look(doors, tenant_id=tenant_id, code=code, secret=secret)
    _require_turn(seen, "new")
    member, tenant = seen.opened.membership, seen.tenant
    address = seen.opened.generation.address
    words = (tenant.display_name, tenant.slug, member.display_name, member.login_name, address)
    check_password(password, about=words)
    password_hash = await doors.passwords.hash(password)
    async with doors.database.session(tenant_id) as session:
        opened = await _lock_open(session, doors, code)
        person = await persons.make_person(
            session,
            address=address,
            display_name=member.display_name,
            locale=member.locale or tenant.locale,
            password_hash=password_hash,
        )
        entry = await enter_person(session, doors.settings, browser, person.id, secret)
        return await _accept(session, opened, person.id, entry)


async def accept_as_person(doors: Doors, *, tenant_id: UUID, code: str, secret: str | None) -> Accepted:
    """She has signed in and confirms: no second account (R-01). Raises PersonKnown, AccountMismatch, AlreadyMember,
    TenantClosed, or why the link does not work.
    """
    async with doors.database.session(tenant_id) as session:
        opened = await _lock_open(session, doors, code)
        one = await get_session(session, doors.settings, secret)
        tenant = await get_tenant(session, opened.membership.tenant_id)
        _require_turn(await _look(session, tenant, opened, one), "confirm")
        assert one.person_id is not None  # noqa: S101 it is her turn
        return await _accept(session, opened, one.person_id, Entry(secret or "", one, None))


async def decline(doors: Doors, *, tenant_id: UUID, code: str) -> Tenant:
    """By whoever holds the link; the page asks for a click."""
    async with doors.database.session(tenant_id) as session:
        opened = await rules.open_link(session, doors.links, code)
        await memberships.lock_membership(session, tenant_id, opened.membership.id)
        rules.require_live(opened)
        await rules.decide(session, memberships.herself(opened.membership), opened, "declined")
        return await get_tenant(session, tenant_id)


async def renew(doors: Doors, *, tenant_id: UUID, code: str) -> None:
    """*Send me a new link*: the answer says nothing about what comes of it (T-17). Raises a LinkError."""
    async with doors.database.session(tenant_id) as session:
        opened = await rules.open_link(session, doors.links, code)
        await rules.ask_renewal(session, memberships.herself(opened.membership), opened.membership)


async def _lock_open(session: AsyncSession, doors: Doors, code: str) -> Opened:
    """The membership is locked, and its tenant where an owner may come of it; the link still works."""
    opened = await rules.open_link(session, doors.links, code)
    member = opened.membership
    counting = Role.OWNER in member.preset_roles
    await memberships.lock_membership(session, member.tenant_id, member.id, counting_owners=counting)
    await _require_still_open(session, opened)
    return opened


async def _require_still_open(session: AsyncSession, opened: Opened) -> None:
    await session.refresh(opened.invitation)
    await session.refresh(opened.generation)
    rules.require_open(opened)


async def _accept(session: AsyncSession, opened: Opened, person_id: UUID, entry: Entry) -> Accepted:
    membership = opened.membership
    tenant = await get_tenant(session, membership.tenant_id)
    require_tenant_open(tenant)
    actor = memberships.herself(membership)
    await persons.link_membership(session, person_id, membership)
    await rules.decide(session, actor, opened, "accepted")
    held_by = persons.held_by(person_id)
    await memberships.activate(session, actor, membership, way="mail", held_by=held_by, person_id=person_id)
    owner = await grants.is_owner(session, membership.id)
    waits = bar_to_sign_in(membership, now(), owner=owner)
    if waits is None:
        await open_tenant(session, entry.session, membership.tenant_id, membership.id)
    return Accepted(tenant, entry, waits, membership.starts_at)


async def _look(session: AsyncSession, tenant: Tenant, opened: Opened, one: CookieSession | None) -> Look:
    invited = await persons.find_person(session, canonical_address(opened.generation.address))
    if one is None:
        return Look(tenant, opened, "sign_in" if invited else "new", "")
    if invited is not None and one.person_id == invited.id:
        return Look(tenant, opened, "confirm", "")
    theirs = await persons.addresses_of(session, one.person_id) if one.person_id else []
    return Look(tenant, opened, "mismatch", masked_address(theirs[0].address) if theirs else "")


def _require_turn(seen: Look, turn: Turn) -> None:
    if seen.turn == "mismatch":
        raise AccountMismatch(invited=masked_address(seen.opened.generation.address), signed_in=seen.signed_in)
    if seen.turn != turn:
        raise PersonKnown
