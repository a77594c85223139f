"""Passwords that staff set for people without e-mail (T-11)."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, update

from libs.common.changes import Audit
from libs.common.db import now
from libs.common.permissions import Role, rights_of
from services.identity.local_credentials.tables import LocalCredential
from tests.identity.story import CSRF, PASSWORD, As, Member, World

HANDED = "handed over on paper"
OWNER = sorted(rights_of([Role.OWNER], []))


async def without_email(world: World, **fields: Any) -> Member:
    """Local access has been opened for her in members."""
    member = world.member(await world.tenant(), email=None, way="local", **fields)
    await world.deliver(member, world.next_invite(member))
    return member


async def hand_over(staff: AsyncClient, member: Member, password: str = HANDED, again: str | None = None) -> Response:
    path = f"/identity/v1/members/{member.id}/local-credential"
    read = await staff.get(path)
    return await staff.put(
        path,
        json={"password": password, "password_again": again or password},
        headers={"If-Match": read.headers.get("etag", '"0"')},
    )


async def test_no_mail_is_told_of_and_setting_the_password_accepts(world: World, as_: As) -> None:
    """A-18: the invitation that local access opened is accepted by setting a password."""
    bob = await without_email(world)
    assert await world.facts(bob) == []
    assert (await hand_over(as_("counsellor", bob.tenant.id), bob)).status_code == 200
    assert await world.facts(bob) == ["ended(accepted)", "activated", "roles_changed"]
    activated = [row for row in await world.told(bob.tenant.id) if row.type.endswith("activated.v1")]
    assert (activated[0].data["way"], activated[0].data["holder"]) == ("local", 1)


async def test_the_password_must_be_changed_before_anything_else(world: World, as_: As) -> None:
    """A-20: good for choosing one's own, and for nothing else."""
    bob = await without_email(world)
    await hand_over(as_("counsellor", bob.tenant.id), bob)
    browser = world.browser()
    answer = await world.sign_in(bob.tenant, bob.login, HANDED, browser)
    assert (answer.status_code, answer.json()["must_change"]) == (201, True)
    assert (await world.token(browser)).json()["code"] == "must_change_password"
    assert "signed_in" not in await world.facts(bob)
    changed = await browser.post("/identity/v1/password", json={"new": PASSWORD}, headers=CSRF)
    assert changed.status_code == 204
    assert (await world.token(browser)).status_code == 200
    assert (await world.facts(bob))[-1] == "signed_in"
    assert (await world.sign_in(bob.tenant, bob.login, HANDED)).status_code == 401
    assert (await world.sign_in(bob.tenant, bob.login, PASSWORD)).json()["must_change"] is False


async def test_changing_it_again_takes_the_current_one_and_ends_other_sessions(world: World, as_: As) -> None:
    bob = await without_email(world)
    await hand_over(as_("counsellor", bob.tenant.id), bob)
    browser, phone = world.browser(), world.browser()
    await world.sign_in(bob.tenant, bob.login, HANDED, phone)
    await world.sign_in(bob.tenant, bob.login, HANDED, browser)
    await browser.post("/identity/v1/password", json={"new": PASSWORD}, headers=CSRF)
    assert (await phone.get("/identity/v1/sessions/current")).status_code == 401
    answer = await browser.post("/identity/v1/password", json={"new": "and one more of mine"}, headers=CSRF)
    assert answer.json()["code"] == "wrong_password"


async def test_it_is_good_for_72_hours(world: World, as_: As) -> None:
    """T-11; then staff set another."""
    bob = await without_email(world)
    staff = as_("counsellor", bob.tenant.id)
    handed = (await hand_over(staff, bob)).json()
    assert handed["must_change"] is True
    async with world.doors.database.session(bob.tenant.id) as session:
        past = {"expires_at": now() - timedelta(seconds=1)}
        await session.execute(update(LocalCredential).where(LocalCredential.id == bob.id).values(past))
    assert (await world.sign_in(bob.tenant, bob.login, HANDED)).json()["code"] == "credential_expired"
    assert (await hand_over(staff, bob, "another one on paper")).status_code == 200
    assert (await world.sign_in(bob.tenant, bob.login, "another one on paper")).status_code == 201
    assert (await world.membership(bob)).holder == 1


async def test_setting_it_again_ends_the_sessions_from_before(world: World, as_: As) -> None:
    bob = await without_email(world)
    staff = as_("counsellor", bob.tenant.id)
    await hand_over(staff, bob)
    browser = world.browser()
    await world.sign_in(bob.tenant, bob.login, HANDED, browser)
    await hand_over(staff, bob, "another one on paper")
    assert (await browser.get("/identity/v1/sessions/current")).status_code == 401


async def test_nobody_with_a_person_is_reached_this_way(world: World, as_: As) -> None:
    bob, _ = await world.joined(await world.tenant())
    answer = await hand_over(as_("admin", bob.tenant.id), bob)
    assert (answer.status_code, answer.json()["code"]) == (422, "has_person")
    assert (await world.sign_in(bob.tenant, bob.login, HANDED)).status_code == 401


@pytest.mark.parametrize("presets", [{"roles": ["admin"]}, {"permission_groups": ["supervisor"]}])
async def test_nobody_who_is_to_be_staff_is_reached_this_way(world: World, as_: As, presets: Any) -> None:
    bob = await without_email(world, granted_rights=OWNER, **presets)
    answer = await hand_over(as_("admin", bob.tenant.id), bob)
    assert (answer.status_code, answer.json()["code"]) == (422, "is_staff")


async def test_nobody_who_became_staff_is_reached_this_way(world: World, as_: As) -> None:
    bob = await without_email(world)
    staff = as_("owner", bob.tenant.id)
    await hand_over(staff, bob)
    path = f"/identity/v1/members/{bob.id}/roles"
    etag = (await staff.get(path)).headers["etag"]
    await staff.put(path, json={"roles": [], "permission_groups": ["supervisor"]}, headers={"If-Match": etag})
    assert (await hand_over(staff, bob, "a third one on paper")).json()["code"] == "is_staff"


async def test_without_local_access_there_is_nothing_to_set(world: World, as_: As) -> None:
    acme = await world.tenant()
    added, invited = world.member(acme), world.member(acme)
    await world.deliver(added, world.next(added))
    await world.invite(invited)
    for member in (added, invited):
        assert (await hand_over(as_("admin", acme.id), member)).json()["code"] == "local_access_not_open"
    assert (await world.accept(await world.code(invited))).status_code == 200


async def test_local_access_that_was_taken_back_is_closed(world: World, as_: As) -> None:
    bob = await without_email(world)
    await world.revoke(bob)
    assert (await hand_over(as_("admin", bob.tenant.id), bob)).json()["code"] == "local_access_not_open"


@pytest.mark.parametrize(
    ("password", "again", "code"),
    [
        ("too short", None, "password_refused"),
        ("a" * 12, None, "password_refused"),
        (HANDED, "something else entirely", "passwords_differ"),
    ],
)
async def test_it_is_typed_twice_and_follows_the_policy(
    world: World, as_: As, password: str, again: str | None, code: str
) -> None:
    """A-18"""
    bob = await without_email(world)
    answer = await hand_over(as_("admin", bob.tenant.id), bob, password, again)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_the_password_stands_in_no_answer_event_or_audit_row(world: World, as_: As) -> None:
    """A-19: it is handed over by people; what was typed is nowhere."""
    bob = await without_email(world)
    answer = await hand_over(as_("admin", bob.tenant.id), bob)
    assert HANDED not in answer.text
    async with world.doors.database.session(bob.tenant.id) as session:
        audit = (await session.scalars(select(Audit))).all()
    assert all(HANDED not in str(row.data) for row in await world.told(bob.tenant.id))
    assert all(HANDED not in str(row.details) for row in audit)
    assert "identity.local_credential.set" in [row.type for row in audit]
