"""Whose password is to be checked, by what was typed: the same two selects whatever they find."""

from uuid import UUID

import msgspec
from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import PLATFORM
from libs.common.errors import Malformed
from libs.common.text import canonical_address
from services.identity.local_credentials.tables import LocalCredential
from services.identity.memberships.names import login_key
from services.identity.memberships.tables import Membership
from services.identity.persons.tables import Person, PersonAddress, PersonMembership
from services.identity.throttling.rules import digest


class Candidate(msgspec.Struct, frozen=True):
    """Without a person it is the membership's own credential; without a hash nobody can be meant."""

    password_hash: str | None = None
    person_id: UUID | None = None
    member_id: UUID | None = None


async def find_candidate(session: AsyncSession, tenant_id: UUID, typed: str) -> Candidate:
    """By login name in this tenant, else by an address that a person has proven. In tenant zero by address alone."""
    by_name = (await session.execute(_by_login_name(typed))).first()
    by_address = (await session.execute(_by_address(tenant_id, typed))).first()
    found = by_name or by_address
    return Candidate(*found) if found else Candidate()


def address_key(typed: str) -> str:
    """Empty for what is no address; nobody has that one."""
    try:
        return canonical_address(typed)
    except Malformed:
        return ""


def account_of(what: str, tenant_id: UUID, typed: str) -> bytes:
    """Whose attempts these are, for throttling: an address is one account, at whichever tenant and in whichever of its
    many spellings it is typed; a login name is one in its tenant.
    """
    key = address_key(typed)
    return digest(what, PLATFORM, key) if key else digest(what, tenant_id, login_key(typed))


def _by_login_name(typed: str) -> Select[str, UUID | None, UUID]:
    hash = func.coalesce(Person.password_hash, LocalCredential.password_hash)
    own = and_(LocalCredential.tenant_id == Membership.tenant_id, LocalCredential.id == Membership.id)
    return (
        select(hash, Membership.person_id, Membership.id)
        .outerjoin(Person, Person.id == Membership.person_id)
        .outerjoin(LocalCredential, own)
        .where(Membership.login_key == login_key(typed), Membership.state == "active")
        .order_by(Membership.access_version.desc())
        .limit(1)
    )


def _by_address(tenant_id: UUID, typed: str) -> Select[str | None, UUID, UUID]:
    here = and_(PersonMembership.person_id == Person.id, PersonMembership.tenant_id == tenant_id)
    return (
        select(Person.password_hash, Person.id, PersonMembership.member_id)
        .join(PersonAddress, PersonAddress.person_id == Person.id)
        .outerjoin(PersonMembership, here)
        .where(PersonAddress.address_key == address_key(typed))
    )
