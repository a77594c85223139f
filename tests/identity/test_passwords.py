"""Passwords: forgotten, reset by a link, changed; the policy."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import Response
from sqlalchemy import select, update

from libs.common.changes import Outbox
from libs.common.db import PLATFORM
from libs.common.links import Purpose
from libs.common.sweeps import sweep_once
from services.identity.passwords.sweeps import requests
from services.identity.passwords.tables import PasswordReset
from tests.identity.conftest import sweeper_of
from tests.identity.story import CSRF, PASSWORD, Member, Tenant, World

ASK, REDEEM = "/identity/v1/password-resets", "/identity/v1/password-resets/redeem"
FRESH = "a fish that sings loudly"


async def ask(world: World, tenant: Tenant | None, typed: str, ip: str = "192.0.2.50") -> Response:
    body = {"login": typed} | ({"slug": tenant.slug} if tenant else {})
    return await world.browser(ip=ip).post(ASK, json=body)


async def answered(world: World) -> None:
    """The worker has looked."""
    async with sweeper_of(world) as sweeper:
        await sweep_once(requests, world.doors.database, sweeper)


async def mailed(world: World, member: Member) -> list[dict[str, Any]]:
    """Reset mails that are told of for this address."""
    async with world.doors.database.session(PLATFORM) as session:
        query = select(Outbox).where(Outbox.type == "identity.person.password_reset_asked.v1").order_by(Outbox.sequence)
        return [row.data for row in await session.scalars(query) if row.data["email"] == member.email]


def code_in(world: World, mail: dict[str, Any]) -> str:
    """As notifier derives it."""
    return world.doors.links.make_code(
        Purpose.PASSWORD_RESET,
        tenant_id=PLATFORM,
        id=UUID(mail["person_id"]),
        generation=mail["generation"],
        address=mail["email"],
        deadline=datetime.fromisoformat(mail["deadline"]),
    )


async def reset_code(world: World, member: Member) -> str:
    await ask(world, member.tenant, member.login)
    await answered(world)
    return code_in(world, (await mailed(world, member))[-1])


async def redeem(world: World, code: str, password: str = FRESH) -> Response:
    return await world.browser().post(REDEEM, json={"code": code, "password": password})


async def test_everybody_gets_the_same_answer_and_only_who_is_known_a_mail(world: World) -> None:
    """Issue 3: the door writes the same row for everybody; the worker finds out."""
    bob, _ = await world.joined(await world.tenant())
    for n, typed in enumerate((bob.login, bob.email, "nobody", "nobody@example.org")):
        answer = await ask(world, bob.tenant, typed, ip=f"192.0.2.{n}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert await mailed(world, bob) == []
    await answered(world)
    mails = await mailed(world, bob)
    assert [(mail["slug"], mail["generation"]) for mail in mails] == [(bob.tenant.slug, 1), (bob.tenant.slug, 2)]
    await answered(world)
    assert len(await mailed(world, bob)) == 2


async def test_at_the_global_page_by_address(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    await ask(world, None, bob.email.upper())
    await answered(world)
    assert [mail["slug"] for mail in await mailed(world, bob)] == [None]


async def test_a_reset_link_sets_the_password_and_ends_all_sessions(world: World) -> None:
    """No sign-in comes of it; older sessions and their tokens are over; she is told by mail."""
    bob, browser = await world.joined(await world.tenant())
    one = (await browser.get("/identity/v1/sessions/current")).json()["session_id"]
    code = await reset_code(world, bob)
    answer = await redeem(world, code)
    assert (answer.status_code, answer.headers.get("set-cookie")) == (204, None)
    assert (await world.token(browser)).status_code == 401
    assert f"revoked.session.{one}" in [row.subject for row in await world.told(PLATFORM)]
    assert (await world.sign_in(bob.tenant, bob.login, PASSWORD)).status_code == 401
    assert (await world.sign_in(bob.tenant, bob.login, FRESH)).status_code == 201
    told = [row for row in await world.told(PLATFORM) if row.type == "identity.person.password_changed.v1"]
    assert bob.email in [row.data["email"] for row in told]


async def test_a_reset_link_works_once_and_only_the_newest(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    first, second = await reset_code(world, bob), await reset_code(world, bob)
    assert (await redeem(world, first)).json()["code"] == "reset_used"
    assert (await redeem(world, second)).status_code == 204
    assert (await redeem(world, second, "another fish altogether")).json()["code"] == "reset_used"


async def test_a_reset_link_lasts_an_hour(world: World) -> None:
    """T-01: 60 minutes."""
    bob, _ = await world.joined(await world.tenant())
    await reset_code(world, bob)
    mail = (await mailed(world, bob))[-1]
    left = datetime.fromisoformat(mail["deadline"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(minutes=60)
    past = datetime.now(UTC) - timedelta(seconds=1)
    async with world.doors.database.session(PLATFORM) as session:
        await session.execute(update(PasswordReset).values(deadline=past))
    answer = await redeem(world, code_in(world, {**mail, "deadline": past.isoformat()}))
    assert (answer.status_code, answer.json()["code"]) == (410, "reset_expired")


async def test_a_forged_reset_link_is_not_ours(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    code = await reset_code(world, bob)
    assert (await redeem(world, code[:-2] + ("AA" if code[-2:] != "AA" else "BA"))).status_code in (400, 404)
    mail = (await mailed(world, bob))[-1]
    assert (await redeem(world, code_in(world, {**mail, "email": f"x{bob.email}"}))).json()["code"] == "link_not_valid"


async def test_forgotten_password_renews_a_lapsed_invitation_and_undoes_nothing_else(world: World) -> None:
    """D-21, T-17: dates, locks, revokes and deactivation are never undone by the member."""
    acme = await world.tenant()
    past = datetime.now(UTC) - timedelta(seconds=1)
    lapsed, revoked = world.member(acme, deadline=past), world.member(acme)
    locked, _ = await world.joined(acme)
    await world.invite(lapsed)
    await world.invite(revoked)
    await world.revoke(revoked)
    await world.lock(locked)
    for n, member in enumerate((lapsed, revoked, locked)):
        await ask(world, acme, member.email, ip=f"192.0.2.{100 + n}")
    await answered(world)
    assert (await world.facts(lapsed))[-1] == "renewal_asked"
    assert "renewal_asked" not in [*await world.facts(revoked), *await world.facts(locked)]
    assert (await world.membership(locked)).blocked == ["locked"]


async def test_asking_again_and_again_is_slowed_down_whoever_is_meant(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    for typed in (bob.login, "nobody at all"):
        statuses = [(await ask(world, bob.tenant, typed, ip="192.0.2.200")).status_code for _ in range(6)]
        assert statuses == [204, 204, 204, 204, 429, 429]


async def test_another_spelling_is_no_new_request(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    name, domain = bob.email.split("@")
    spelled = [f"{name}@{domain[:n]}\u00ad{domain[n:]}" for n in range(1, 6)]
    statuses = [(await ask(world, bob.tenant, typed, ip="192.0.2.201")).status_code for typed in spelled]
    assert statuses == [204, 204, 204, 204, 429]


async def test_one_changes_it_with_the_current_one_and_other_sessions_end(world: World) -> None:
    bob, browser = await world.joined(await world.tenant())
    phone = world.browser()
    await world.sign_in(bob.tenant, bob.login, browser=phone)
    path = "/identity/v1/password"
    wrong = await browser.post(path, json={"current": "not my password", "new": FRESH}, headers=CSRF)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "wrong_password")
    missing = await browser.post(path, json={"new": FRESH}, headers=CSRF)
    assert missing.json()["code"] == "wrong_password"
    done = await browser.post(path, json={"current": PASSWORD, "new": FRESH}, headers=CSRF)
    assert done.status_code == 204
    assert (await world.token(browser)).status_code == 200
    assert (await world.token(phone)).status_code == 401
    assert (await world.sign_in(bob.tenant, bob.login, FRESH)).status_code == 201


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("eleven char", "too_short"),
        ("x" * 257, "too_long"),
        ("passwordpassword", "common"),
        ("BobBaumann1234!", "about_you"),
        ("Beratungsstelle-Nord", "about_you"),
    ],
)
async def test_the_policy_names_its_reason(world: World, password: str, reason: str) -> None:
    """ASVS 6.2: twelve or more characters, any; not what everybody tries, not the tenant's words."""
    bob = world.member(await world.tenant(display_name="Beratungsstelle Nord"))
    answer = await world.accept(await world.invite(bob), password)
    assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (422, "password_refused", reason)
    assert (await world.membership(bob)).state == "none"


@pytest.mark.parametrize("password", ["  spaces at the ends  ", "ünïcödé löng enough 🐟", "x9" * 100])
async def test_a_password_is_taken_verbatim(world: World, password: str) -> None:
    """ASVS 6.2.8: as it was typed, spaces and all."""
    bob = world.member(await world.tenant())
    answer = await world.accept(await world.invite(bob), password)
    if password == "x9" * 100:
        assert answer.json()["reason"] == "common"
        return
    assert answer.status_code == 200
    assert (await world.sign_in(bob.tenant, bob.login, password)).status_code == 201
    assert (await world.sign_in(bob.tenant, bob.login, password.strip() + " ")).status_code == 401
