"""Several at once: two connections, a barrier, two hundred rounds."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import Database
from libs.common.errors import AppError
from libs.common.tokens import Actor
from services.members import facts as f
from services.members.access import rules as access
from services.members.blocks import rules as blocks
from services.members.deletion import rules as deletion
from services.members.people.rules import Profile
from services.members.people.tables import Member
from services.members.seats.rules import SeatLimitReached
from services.members.tenants.tables import Tenant
from tests.members.conftest import make_tenant, staff

ROUNDS = 200
Command = Callable[[AsyncSession, Actor, uuid.UUID], Awaitable[object]]


async def add(database: Database, actor: Actor, name: str) -> uuid.UUID:
    assert actor.tenant_id
    async with database.session(actor.tenant_id) as session:
        profile = Profile(login_name=name, display_name=name, email=f"{name}@example.org")
        return (await access.add(session, actor, profile)).id


async def attempt(database: Database, actor: Actor, barrier: asyncio.Barrier, command: Command, id: uuid.UUID) -> str:
    """'' where it was done, else the code."""
    assert actor.tenant_id
    try:
        async with database.session(actor.tenant_id) as session:
            await session.execute(select(1))  # the connection is there before the start
            await barrier.wait()
            await command(session, actor, id)
    except AppError as error:
        return error.code()
    return ""


async def seats_agree(database: Database, tenant_id: uuid.UUID) -> Tenant:
    """The ledger says what the facts say."""
    async with database.session(tenant_id) as session:
        tenant = (await session.scalars(select(Tenant))).one()
        held = [f.seat(member.facts) for member in await session.scalars(select(Member))]
    assert (tenant.seats_used, tenant.seats_reserved) == (held.count("used"), held.count("reserved"))
    return tenant


@pytest.mark.timeout(400)
async def test_of_two_who_want_the_last_seat_exactly_one_gets_it(database: Database) -> None:
    """R-08: through every door that asks for a seat, 200 rounds on two connections."""
    tenant_id = await make_tenant(database, seats=2)
    one, other = staff(tenant_id), staff(tenant_id)
    anna, bob = await add(database, one, "anna"), await add(database, one, "bob")
    doors: list[Command] = [access.invite, blocks.reactivate, deletion.restore]
    chance = random.Random(8)
    for _ in range(ROUNDS):
        tries = [(chance.choice(doors), id) for id in (anna, bob)]
        async with database.session(tenant_id) as session:
            for door, id in tries:
                await stand_before(session, id, door)
        barrier = asyncio.Barrier(2)
        actors = (one, other)
        results = await asyncio.gather(
            *(attempt(database, actor, barrier, door, id) for actor, (door, id) in zip(actors, tries, strict=True))
        )
        assert sorted(results) == ["", SeatLimitReached.code()]
        tenant = await seats_agree(database, tenant_id)
        assert tenant.seats_used + tenant.seats_reserved == 2


async def stand_before(session: AsyncSession, id: uuid.UUID, door: Command) -> None:
    """She holds no seat and stands where this command would take one."""
    facts: dict[Command, dict[str, object]] = {
        access.invite: {"access": "none", "life": "present", "deactivated": False},
        blocks.reactivate: {"access": "active", "life": "present", "deactivated": True},
        deletion.restore: {"access": "active", "life": "marked_deleted", "deactivated": False},
    }
    member = (await session.scalars(select(Member).where(Member.id == id))).one()
    tenant = (await session.scalars(select(Tenant))).one()
    held = f.seat(member.facts)
    tenant.seats_used -= held == "used"
    tenant.seats_reserved -= held == "reserved"
    for name, value in facts[door].items():
        setattr(member, name, value)


async def test_a_hundred_renewals_at_once_leave_one_live_link(database: Database) -> None:
    """R-03: each raised the generation; one seat is held."""
    tenant_id = await make_tenant(database, seats=2)
    actor = staff(tenant_id)
    bob = await add(database, actor, "bob")

    async def renew() -> None:
        async with database.session(tenant_id) as session:
            await access.invite(session, actor, bob)

    for _ in range(10):
        await asyncio.gather(*(renew() for _ in range(10)))
    async with database.session(tenant_id) as session:
        member = (await session.scalars(select(Member).where(Member.id == bob))).one()
    assert (member.generation, member.access, member.access_version) == (100, "invited", 101)
    assert (await seats_agree(database, tenant_id)).seats_reserved == 2


async def test_of_two_adds_with_one_address_one_wins(database: Database) -> None:
    """R-01, R-02"""
    tenant_id = await make_tenant(database)
    actor = staff(tenant_id)

    async def add_twin(n: int, number: int) -> str:
        profile = Profile(login_name=f"twin-{number}-{n}", display_name="T", email=f"Twin{number}@example.org")
        try:
            async with database.session(tenant_id) as session:
                await access.add(session, actor, profile)
        except AppError as error:
            return error.code()
        return ""

    for number in range(20):
        assert sorted(await asyncio.gather(add_twin(1, number), add_twin(2, number))) == ["", "email_taken"]


@pytest.mark.parametrize("seed", range(3))
async def test_commands_in_any_order_never_wait_in_a_circle(database: Database, seed: int) -> None:
    """Tenant before member, always: no deadlock, no lost seat, whatever happens at once."""
    tenant_id = await make_tenant(database, seats=4)
    actor = staff(tenant_id)
    people = [await add(database, actor, f"p{n}") for n in range(4)]
    chance = random.Random(seed)

    async def lock(session: AsyncSession, actor: Actor, id: uuid.UUID) -> object:
        return await blocks.lock(session, actor, id, until=None, reason=None)

    commands: list[Command] = [access.invite, access.revoke, lock, blocks.unlock, blocks.deactivate, blocks.reactivate]

    async def busy() -> None:
        for _ in range(15):
            await attempt(database, actor, asyncio.Barrier(1), chance.choice(commands), chance.choice(people))

    await asyncio.gather(*(busy() for _ in range(6)))
    tenant = await seats_agree(database, tenant_id)
    assert tenant.seats_used + tenant.seats_reserved <= 4
