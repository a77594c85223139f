"""Password resets: a link that was mailed, good once and for an hour. It signs nobody in."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import record
from libs.common.db import PLATFORM, now
from libs.common.errors import Gone
from libs.common.events.identity import PasswordResetAsked
from libs.common.links import LinkNotValid, Purpose, read_code
from libs.common.passwords import check_password
from libs.common.tokens import Actor
from services.identity.doors import Doors
from services.identity.invitations.rules import MOST_GENERATIONS
from services.identity.passwords.rules import lock_person, set_password
from services.identity.passwords.tables import PasswordReset
from services.identity.persons import rules as persons
from services.identity.persons.tables import Person
from services.identity.platform import in_platform

LINK_LASTS = timedelta(minutes=60)
"""T-01."""


class ResetExpired(Gone):
    title = "This link has expired: ask for a new one"


class ResetUsed(Gone):
    title = "This link was used, or a newer one was sent"


async def ask_reset(session: AsyncSession, person_id: UUID, *, address: str | None, slug: str | None) -> None:
    """A new link is mailed, older ones are dead. address: the one that was typed, if it was hers; else her oldest."""
    person = await lock_person(session, person_id)
    address = address or (await persons.addresses_of(session, person.id))[0].address
    person.reset_generation += 1
    deadline = now() + LINK_LASTS
    reset = PasswordReset(person_id=person.id, generation=person.reset_generation, address=address, slug=slug)
    reset.deadline = deadline
    session.add(reset)
    async with in_platform(session):
        event = PasswordResetAsked(
            person_id=person.id,
            generation=person.reset_generation,
            email=address,
            display_name=person.display_name,
            locale=person.locale,
            deadline=deadline,
            slug=slug,
        )
        record(session, Actor.system(PLATFORM), person, event)


async def open_reset(doors: Doors, code: str) -> PasswordReset:
    """Changes nothing. Raises a LinkError, ResetExpired, ResetUsed."""
    async with doors.database.session(PLATFORM) as session:
        return await _open(session, doors, code)


async def reset_password(doors: Doors, *, code: str, new: str) -> PasswordReset:
    """Sets the password and ends all her sessions; she signs in anew. Raises like open_reset, and PasswordRefused."""
    reset = await open_reset(doors, code)
    async with doors.database.session(PLATFORM) as session:
        person = await session.get_one(Person, reset.person_id)
        check_password(new, about=(person.display_name, reset.address))
    fresh = await doors.passwords.hash(new)
    async with doors.database.session(PLATFORM) as session:
        person = await lock_person(session, reset.person_id)
        await _open(session, doors, code)
        query = update(PasswordReset).where(
            PasswordReset.person_id == reset.person_id,
            PasswordReset.generation == reset.generation,
            PasswordReset.used_at.is_(None),
        )
        done = await session.scalar(query.values(used_at=now()).returning(PasswordReset.generation))
        if done is None:
            raise ResetUsed
        await set_password(session, person, fresh, keep=None)
    return reset


async def _open(session: AsyncSession, doors: Doors, code: str) -> PasswordReset:
    claims = read_code(code)
    if claims.tenant_id != PLATFORM or claims.generation > MOST_GENERATIONS:
        raise LinkNotValid
    reset = await session.get(PasswordReset, (claims.id, claims.generation), populate_existing=True)
    if reset is None:
        raise LinkNotValid
    doors.links.verify_code(code, Purpose.PASSWORD_RESET, address=reset.address, deadline=reset.deadline)
    person = await session.get_one(Person, reset.person_id)
    if reset.used_at is not None or reset.generation != person.reset_generation:
        raise ResetUsed
    if reset.deadline <= now():
        raise ResetExpired
    return reset
