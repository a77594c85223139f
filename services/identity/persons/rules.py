"""Persons: found by an address they have proven, made by accepting an invitation, gone with their last membership."""

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.errors import Conflict
from libs.common.text import canonical_address
from services.identity.memberships.tables import Membership
from services.identity.persons.tables import Person, PersonAddress, PersonMembership
from services.identity.sessions.closing import end_sessions_of


class PersonKnown(Conflict):
    """Somebody with this address signs in already: she confirms with her own password (R-01)."""

    title = "This address has an account already: sign in to accept"


class AlreadyMember(Conflict):
    title = "This person is a member here already"


async def find_person(session: AsyncSession, address_key: str) -> Person | None:
    """By a canonical address that she has proven."""
    found = await session.get(PersonAddress, address_key)
    return await session.get(Person, found.person_id) if found else None


async def addresses_of(session: AsyncSession, person_id: UUID) -> list[PersonAddress]:
    """Oldest first: the first is where person-level mail goes."""
    query = select(PersonAddress).where(PersonAddress.person_id == person_id)
    return list((await session.scalars(query.order_by(PersonAddress.verified_at, PersonAddress.address_key))).all())


async def make_person(
    session: AsyncSession, *, address: str, display_name: str, locale: str, password_hash: str
) -> Person:
    """The address was proven by the link that was mailed there. Of two at once one wins; raises PersonKnown."""
    person = Person(display_name=display_name, locale=locale, password_hash=password_hash, reset_generation=0)
    session.add(person)
    await session.flush()
    values = {"address_key": canonical_address(address), "address": address, "person_id": person.id}
    query = insert(PersonAddress).values(values).on_conflict_do_nothing().returning(PersonAddress.person_id)
    if await session.scalar(query) is None:
        raise PersonKnown
    return person


def held_by(person_id: UUID) -> str:
    """The name of a person as the holder of a membership."""
    return f"person:{person_id}"


async def link_membership(session: AsyncSession, person_id: UUID, membership: Membership) -> None:
    """A person is one member of a tenant. Raises AlreadyMember where she is another one, and active."""
    await session.scalar(select(Person.id).where(Person.id == person_id).with_for_update(key_share=True))
    key = (person_id, membership.tenant_id)
    known = await session.get(PersonMembership, key)
    if known is None:
        session.add(PersonMembership(person_id=person_id, tenant_id=membership.tenant_id, member_id=membership.id))
    elif known.member_id != membership.id:
        other = await session.get(Membership, (membership.tenant_id, known.member_id))
        if other is not None and other.state == "active":
            raise AlreadyMember
        known.member_id = membership.id
    await session.flush()


async def forget_membership(session: AsyncSession, held: str, membership: Membership) -> None:
    """A person's way to this membership ends for good; with the last one she is erased (design section 3.7)."""
    kind, _, id = held.partition(":")
    if kind != "person":
        return
    person = await session.scalar(select(Person).where(Person.id == UUID(id)).with_for_update())
    if person is None:
        return
    mine = (PersonMembership.person_id == person.id, PersonMembership.member_id == membership.id)
    await session.execute(delete(PersonMembership).where(*mine))
    left = select(PersonMembership.tenant_id).where(PersonMembership.person_id == person.id).limit(1)
    if await session.scalar(left) is None:
        await end_sessions_of(session, person.id)
        await session.execute(delete(PersonAddress).where(PersonAddress.person_id == person.id))
        await session.delete(person)
        await session.flush()
