"""What members wants, made so: by level, whatever is repeated or comes in another order."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from libs.common.events.members import AccessWanted
from libs.common.inlets import NotYet
from services.identity.invitations.tables import Invitation
from services.identity.sessions.tables import SessionMembership
from tests.identity.story import Member, Tenant, World


async def open_generation(world: World, member: Member) -> int | None:
    """The generation of the one link that works, if there is one."""
    async with world.doors.database.session(member.tenant.id) as session:
        query = select(Invitation).where(Invitation.member_id == member.id, Invitation.state == "open")
        found = (await session.scalars(query)).all()
    assert len(found) <= 1
    return found[0].generation if found else None


async def sessions_of(world: World, member: Member) -> int:
    async with world.doors.database.session(member.tenant.id) as session:
        query = select(SessionMembership).where(SessionMembership.member_id == member.id)
        return len((await session.scalars(query)).all())


async def test_an_event_before_its_tenant_waits(world: World) -> None:
    tenant = Tenant(uuid.uuid4(), "unknown", None)  # type: ignore[arg-type]
    bob = world.member(tenant)
    with pytest.raises(NotYet):
        await world.deliver(bob, world.next_invite(bob))


async def test_the_mail_is_told_all_it_needs_and_no_secret(world: World) -> None:
    """R-07: the event names address, names and deadline; the code is derived by whoever mails it."""
    acme = await world.tenant(display_name="Acme e. V.")
    bob = world.member(acme, locale="en")
    code = await world.invite(bob)
    [issued] = [one for one in await world.told(acme.id) if one.type == "identity.invitation.issued.v1"]
    assert issued.data["email"] == bob.email
    assert (issued.data["tenant_name"], issued.data["slug"], issued.data["locale"]) == ("Acme e. V.", acme.slug, "en")
    for row in await world.told(acme.id):
        assert code not in str(row.data)


async def test_inviting_again_replaces_the_link_and_keeps_the_invitation(world: World) -> None:
    """R-03, B-18: one invitation, a new generation, the older link dead."""
    bob = world.member(await world.tenant())
    first = await world.invite(bob)
    second = await world.invite(bob)
    assert await world.facts(bob) == ["issued", "ended(replaced)", "issued"]
    told = [one for one in await world.told(bob.tenant.id) if one.data.get("member_id") == str(bob.id)]
    assert len({one.data["invitation_id"] for one in told}) == 1
    assert (await world.accept(first)).json()["code"] == "invitation_replaced"
    assert (await world.accept(second)).status_code == 200


async def test_a_readdressed_invitation_goes_to_the_new_address_only(world: World) -> None:
    """D-28: the address of an open invitation is corrected in place; the old link is dead."""
    bob = world.member(await world.tenant())
    old = await world.invite(bob)
    new = await world.invite(bob, email=f"right-{bob.id.hex}@example.org")
    assert (await world.accept(old)).json()["code"] == "invitation_replaced"
    assert (await world.accept(new)).status_code == 200
    assert (await world.sign_in(bob.tenant, f"right-{bob.id.hex}@example.org")).status_code == 201


async def test_an_invitation_lasts_as_members_says_or_28_days(world: World) -> None:
    """T-01"""
    acme = await world.tenant()
    until = datetime.now(UTC) + timedelta(hours=1)
    for deadline, lasts in ((until, timedelta(hours=1)), (None, timedelta(days=28))):
        bob = world.member(acme)
        await world.invite(bob, deadline=deadline)
        [issued] = [row for row in await world.told(acme.id) if row.data.get("email") == bob.email]
        left = datetime.fromisoformat(str(issued.data["deadline"])) - datetime.now(UTC)
        assert lasts - timedelta(minutes=1) < left <= lasts


async def test_inviting_an_active_member_only_echoes_the_new_generation(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    await world.deliver(bob, world.next_invite(bob))
    told = [one for one in await world.told(bob.tenant.id) if one.type.endswith("activated.v1")]
    assert [one.data["generation"] for one in told] == [1, 2]
    assert await open_generation(world, bob) is None


async def test_a_generation_that_has_ended_never_opens_again(world: World) -> None:
    bob = world.member(await world.tenant())
    code = await world.invite(bob)
    browser = world.browser()
    await browser.post("/identity/v1/invitations/decline", json={"code": code})
    await world.deliver(bob, world.next(bob, display_name="Robert Baumann"))
    assert await open_generation(world, bob) is None
    assert (await world.accept(code)).json()["code"] == "invitation_declined"


async def test_a_revoked_member_loses_membership_sessions_and_rights(world: World) -> None:
    """A newer epoch ends all that is older, in one transaction (R-10)."""
    bob, laptop = await world.joined(await world.tenant(), roles=["admin"], granted_rights=["tenant:own"])
    await world.revoke(bob)
    assert (await world.facts(bob))[-1] == "ended"
    assert (await world.membership(bob)).state == "none"
    assert await sessions_of(world, bob) == 0
    assert (await world.token(laptop, bob.tenant)).json()["code"] == "no_access_here"


async def test_a_cut_ends_sessions_and_keeps_the_membership(world: World) -> None:
    bob, laptop = await world.joined(await world.tenant())
    await world.lock(bob)
    await world.unlock(bob)
    assert (await world.membership(bob)).state == "active"
    assert await sessions_of(world, bob) == 0
    assert (await world.token(laptop, bob.tenant)).status_code == 403
    assert (await world.sign_in(bob.tenant, bob.login)).status_code == 201


@pytest.mark.parametrize("block", ["locked", "deactivated", "outside_dates", "marked_deleted"])
async def test_nobody_signs_in_while_blocked_and_the_cause_is_told_after_the_right_password(
    world: World, block: str
) -> None:
    bob, _ = await world.joined(await world.tenant())
    await world.lock(bob, block)
    answer = await world.sign_in(bob.tenant, bob.login)
    assert (answer.status_code, answer.json()["code"], answer.json()["cause"]) == (403, "access_barred", block)
    assert (await world.sign_in(bob.tenant, bob.login, "wrong wrong wrong")).status_code == 401


async def test_identitys_own_clock_ends_access_and_lifts_no_block(world: World) -> None:
    """R-22: past the expiry date nobody gets a token; a lock whose time is over holds until members says so."""
    acme = await world.tenant()
    bob, laptop = await world.joined(acme)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await world.deliver(bob, world.next(bob, ends_at=past))
    assert (await world.token(laptop)).json()["cause"] == "outside_dates"
    eve, _ = await world.joined(acme)
    await world.deliver(eve, world.next(eve, blocked=["locked"], locked_until=past, cut=1))
    assert (await world.sign_in(acme, eve.login)).json()["cause"] == "locked"


async def test_before_the_entry_date_she_accepts_and_waits(world: World) -> None:
    soon = datetime.now(UTC) + timedelta(days=2)
    bob = world.member(await world.tenant(), starts_at=soon, blocked=["outside_dates"])
    answer = await world.accept(await world.invite(bob))
    assert (answer.status_code, answer.json()["waits"]) == (200, "outside_dates")
    assert (await world.facts(bob))[-1] != "signed_in"
    assert (await world.sign_in(bob.tenant, bob.login)).status_code == 403


@pytest.mark.parametrize("block", ["locked", "deactivated", "marked_deleted"])
async def test_accepting_is_refused_while_blocked_and_the_invitation_stays(world: World, block: str) -> None:
    bob = world.member(await world.tenant())
    code = await world.invite(bob)
    await world.lock(bob, block)
    answer = await world.accept(code)
    assert (answer.status_code, answer.json()["cause"]) == (409, block)
    await world.unlock(bob)
    assert (await world.accept(code)).status_code == 200


async def test_what_is_gone_stays_gone_and_leaves_nothing_personal(world: World) -> None:
    """Late events bring nothing back."""
    bob, _ = await world.joined(await world.tenant())
    login, email = bob.login, bob.email
    await world.deliver(bob, world.next(bob, want="gone", epoch=1, email=None, login_name="", display_name=""))
    await world.deliver(bob, world.next_invite(bob))
    membership = await world.membership(bob)
    assert (membership.state, membership.login_name, membership.email, membership.held_by) == ("gone", "", None, None)
    assert (await world.sign_in(bob.tenant, login)).status_code == 401
    assert (await world.sign_in(None, email)).status_code == 401


async def test_a_person_stays_while_another_tenant_has_her(world: World) -> None:
    acme, globex = await world.tenant(), await world.tenant()
    bob, browser = await world.joined(acme)
    other = world.member(globex, email=bob.email)
    assert (await world.confirm(await world.invite(other), browser)).status_code == 200
    await world.deliver(bob, world.next(bob, want="gone", epoch=1, email=None, login_name="", display_name=""))
    assert (await world.token(browser, globex)).status_code == 200
    assert (await world.sign_in(globex, other.login)).status_code == 201


async def test_another_human_is_another_holder_and_the_same_one_is_not(world: World) -> None:
    """Design section 4: private records belong to (member, holder)."""
    acme = await world.tenant()
    bob, browser = await world.joined(acme)
    await world.revoke(bob)
    assert (await world.confirm(await world.invite(bob), browser)).status_code == 200
    assert (await world.membership(bob)).holder == 1
    await world.revoke(bob)
    assert (await world.accept(await world.invite(bob, email=f"eve-{bob.id.hex}@example.org"))).status_code == 200
    assert (await world.membership(bob)).holder == 2
    assert (await world.sign_in(None, bob.email.replace("eve-", "bob-"))).status_code == 401


COMMANDS = ("invite", "again", "readdress", "revoke", "lock", "unlock", "rename", "deactivate")


def said(world: World, member: Member, commands: list[str]) -> list[AccessWanted]:
    """What members would say, one event per command, in the order of its versions."""
    found = []
    for number, command in enumerate(commands):
        wanted = member.wanted
        fields: dict[str, Any] = {}
        match command:
            case "invite" | "again":
                fields = {"want": "invited", "generation": wanted.generation + 1}
            case "readdress":
                fields = {"want": "invited", "generation": wanted.generation + 1, "email": f"{number}-{member.email}"}
            case "revoke":
                fields = {"want": "nothing", "epoch": wanted.epoch + 1}
            case "lock" | "deactivate":
                block = "locked" if command == "lock" else "deactivated"
                fields = {"blocked": [block], "cut": wanted.cut + 1}
            case "unlock":
                fields = {"blocked": []}
            case "rename":
                fields = {"display_name": f"Bob {number}"}
        found.append(world.next(member, **fields))
    return found


@pytest.mark.timeout(600)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=8), seed=st.integers(0, 2**32))
async def test_repeated_and_shuffled_events_end_in_the_same_state(world: World, commands: list[str], seed: int) -> None:
    """Design section 3, *level, not edge*: order and repetition do not matter."""
    acme = await world.tenant()
    ordered, shuffled = world.member(acme), world.member(acme)
    for wanted in said(world, ordered, commands):
        await world.deliver(ordered, wanted)
    events = [(wanted, uuid.uuid4()) for wanted in said(world, shuffled, commands)]
    chaos = random.Random(seed)
    deliveries = [*events, *chaos.choices(events, k=3)]
    chaos.shuffle(deliveries)
    while deliveries:
        several = [deliveries.pop() for _ in range(min(len(deliveries), chaos.randint(1, 4)))]
        await world.deliver_together(
            [(shuffled, wanted, id if chaos.random() < 0.5 else uuid.uuid4()) for wanted, id in several]
        )
    for field in ("state", "epoch", "cut", "blocked", "want", "display_name"):
        one, other = await world.membership(ordered), await world.membership(shuffled)
        assert getattr(one, field) == getattr(other, field), field
    generation = await open_generation(world, ordered)
    assert generation == await open_generation(world, shuffled)
    if generation is not None:
        answers = [await world.accept(await world.code(member)) for member in (ordered, shuffled)]
        assert answers[0].status_code == answers[1].status_code


async def test_what_came_together_is_done_as_if_each_had_come_alone(world: World) -> None:
    acme = await world.tenant()
    people = [world.member(acme) for _ in range(6)]
    again, gone, locked, *others = people
    for member in (again, gone):
        await world.invite(member)
    said = [(again, world.next_invite(again)), (gone, world.next_revoke(gone))]
    said += [(locked, world.next_invite(locked)), (locked, world.next_lock(locked))]
    said += [(other, world.next_invite(other)) for other in others]
    await world.deliver_together([(member, wanted, uuid.uuid4()) for member, wanted in said])
    assert await world.facts(again) == ["issued", "ended(replaced)", "issued"]
    assert await world.facts(gone) == ["issued", "ended(revoked)"]
    assert [await open_generation(world, member) for member in people] == [2, None, 1, 1, 1, 1]
    assert (await world.accept(await world.code(others[0]))).status_code == 200
    assert (await world.accept(await world.code(locked))).status_code == 409
