"""Races that really race: two connections, a barrier, two hundred rounds."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from libs.common.errors import AppError
from libs.common.events.members import AccessWanted
from libs.common.permissions import Role, rights_of
from libs.common.tokens import Actor
from services.identity.invitations import accepting
from services.identity.roles.rules import set_roles
from services.identity.throttling.rules import Browser
from tests.identity.story import PASSWORD, Member, World
from tests.identity.test_access import open_generation, sessions_of

pytestmark = pytest.mark.timeout(600)

ROUNDS = 200
BROWSER = Browser("192.0.2.7", "", "")


async def at_once(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Each call's answer, or the error it raised; all start at the same moment."""
    barrier = asyncio.Barrier(len(calls))

    async def run(call: Callable[[], Awaitable[Any]]) -> Any:
        await barrier.wait()
        try:
            return await call()
        except AppError as error:
            return error

    return await asyncio.gather(*(run(call) for call in calls))


def accept(world: World, member: Member, code: str) -> Callable[[], Awaitable[Any]]:
    return lambda: accepting.accept_as_new(
        world.doors, BROWSER, tenant_id=member.tenant.id, code=code, password=PASSWORD, secret=None
    )


def deliver(world: World, member: Member, said: AccessWanted) -> Callable[[], Awaitable[Any]]:
    """Sometimes at once, sometimes when accepting, which takes longer, is about done: each may be first."""

    async def run() -> None:
        await asyncio.sleep(random.uniform(0, 0.15))
        await world.deliver(member, said)

    return run


async def test_of_two_who_accept_one_wins(world: World) -> None:
    """R-05: one compare-and-set decides; the other is told that it was accepted already."""
    acme = await world.tenant()
    for _ in range(ROUNDS):
        bob = world.member(acme)
        code = await world.invite(bob)
        answers = await at_once(accept(world, bob, code), accept(world, bob, code))
        lost = [answer.code() for answer in answers if isinstance(answer, AppError)]
        assert lost == ["invitation_accepted"]
        assert (await world.facts(bob)).count("activated") == 1


async def test_accept_against_revoke_leaves_nobody_in(world: World) -> None:
    """Design section 3.2: once quiet after a last revoke: revoked, no session, no live link."""
    acme = await world.tenant()
    for _ in range(ROUNDS):
        bob = world.member(acme)
        code = await world.invite(bob)
        revoke = world.next_revoke(bob)
        await at_once(accept(world, bob, code), deliver(world, bob, revoke))
        assert (await world.membership(bob)).state == "none"
        assert await open_generation(world, bob) is None
        assert await sessions_of(world, bob) == 0


async def test_accept_against_revoke_against_invite_again_leaves_only_the_newest_link(world: World) -> None:
    """Design section 3.2: the revoke's epoch ends the acceptance, whatever came first; only the newest link works."""
    acme = await world.tenant()
    for _ in range(ROUNDS):
        bob = world.member(acme)
        code = await world.invite(bob)
        revoke, again = world.next_revoke(bob), world.next_invite(bob)
        await at_once(
            accept(world, bob, code),
            deliver(world, bob, revoke),
            deliver(world, bob, again),
        )
        assert (await world.membership(bob)).state == "none"
        assert await open_generation(world, bob) == 2
        assert await sessions_of(world, bob) == 0


async def test_accept_against_invite_again_is_active_or_has_one_live_link(world: World) -> None:
    """Design section 3.2: active if a link of the same epoch was accepted, else only the newest link works."""
    acme = await world.tenant()
    accepted = 0
    for _ in range(ROUNDS):
        bob = world.member(acme)
        code = await world.invite(bob)
        again = world.next_invite(bob)
        answer, _ = await at_once(accept(world, bob, code), deliver(world, bob, again))
        if isinstance(answer, AppError):
            assert answer.code() == "invitation_replaced"
            assert await open_generation(world, bob) == 2
        else:
            accepted += 1
            assert (await world.membership(bob)).state == "active"
            assert await open_generation(world, bob) is None
    assert 0 < accepted < ROUNDS


async def test_lock_against_unlock_ends_as_members_said_last(world: World) -> None:
    """A-47, in any order of arrival: the newer access_version holds."""
    bob, _ = await world.joined(await world.tenant())
    for number in range(ROUNDS):
        lock, unlock = world.next_lock(bob), world.next_unlock(bob)
        await at_once(
            deliver(world, bob, lock),
            deliver(world, bob, unlock),
        )
        membership = await world.membership(bob)
        assert (membership.blocked, membership.cut) == ([], number + 1)


async def test_a_hundred_renewals_at_once_leave_one_live_link(world: World) -> None:
    """R-03"""
    bob = world.member(await world.tenant())
    events = [world.next_invite(bob) for _ in range(100)]
    await at_once(*(deliver(world, bob, said) for said in reversed(events)))
    assert await open_generation(world, bob) == 100
    assert (await world.accept(await world.code(bob))).status_code == 200


async def test_two_owners_who_demote_each_other_leave_one(world: World) -> None:
    """R-09: checked under the tenant's row lock; measured without it, nearly every round ends without an owner."""
    one, two = await two_owners(world)
    for _ in range(ROUNDS):
        answers = await at_once(change(world, two, set(), by=one), change(world, one, set(), by=two))
        assert [answer.code() for answer in answers if isinstance(answer, AppError)] == ["last_owner"]
        lost, kept = (one, two) if isinstance(answers[0], AppError) else (two, one)
        await change(world, lost, {Role.OWNER}, by=kept)()


async def test_a_demoted_owner_and_a_blocked_one_are_not_both_lost(world: World) -> None:
    """R-09: members blocks one while she demotes the other; identity keeps whoever would be the last."""
    one, two = await two_owners(world)
    refused = 0
    for _ in range(ROUNDS):
        lock = world.next_lock(one)
        answers = await at_once(change(world, two, set(), by=one), deliver(world, one, lock))
        demoted = not isinstance(answers[0], AppError)
        assert ((await world.membership(one)).blocked == []) == demoted
        refused += demoted
        await world.unlock(one)
        if demoted:
            await change(world, two, {Role.OWNER}, by=one)()
    assert (await world.facts(one)).count("suspension_refused") == refused


async def two_owners(world: World) -> tuple[Member, Member]:
    tenant = await world.tenant()
    one, _ = await world.owner(tenant)
    two, _ = await world.joined(tenant, roles=["owner"], granted_rights=sorted(rights_of([Role.OWNER], [])))
    return one, two


def change(world: World, member: Member, roles: set[Role], *, by: Member) -> Callable[[], Awaitable[Any]]:
    """One owner sets another's roles."""
    tenant_id = member.tenant.id
    actor = Actor(
        kind="member", id=by.id, tenant_id=tenant_id, rights=rights_of([Role.OWNER], []), expires_at=float("inf")
    )

    async def run() -> None:
        version = (await world.membership(member)).av
        async with world.doors.database.session(tenant_id) as session:
            await set_roles(session, actor, tenant_id, member.id, roles=roles, groups=set(), version=version)

    return run
