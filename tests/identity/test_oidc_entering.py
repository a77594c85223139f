"""A tenant's own identity provider: who comes in by it, in the browser that began it."""

import re
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import text, update

from libs.common.db import now
from libs.common.events.rpc import AdmitAnswer, Admitted, NoSeat, Refused
from services.identity.connections.tables import ConnectionAttempt
from services.identity.pages.strings import STRINGS
from tests.identity.fake_provider import SECRET
from tests.identity.oidc import BOB, Connected, Members, connected, nonce_in, put_members, sent_to
from tests.identity.story import CSRF, As, World


async def test_an_invited_member_comes_in_with_what_was_preset_and_stays_one(acme: Connected) -> None:
    """R-14, C-39: no password, no person; the same subject is the same member, whatever her address is later."""
    bob = await acme.invited(permission_groups=["counsellor"], granted_rights=["*", *_counsellor()])
    browser = await acme.signed_in()
    me = (await acme.world.token(browser, acme.tenant)).json()
    assert me["expires_in"] > 0
    membership = await acme.world.membership(bob)
    assert (membership.state, membership.person_id) == ("active", None)
    assert ("counsellor", "invitation") in await acme.grants(bob)
    holder = membership.holder
    await acme.signed_in(email="married@example.org", email_verified=False)
    assert (await acme.world.membership(bob)).holder == holder
    page = await browser.get(f"/t/{acme.tenant.slug}")
    assert "Bob Baumann" in page.text
    assert "change-password" not in page.text


def _counsellor() -> list[str]:
    from libs.common.permissions import Group, rights_of

    return sorted(rights_of([], [Group.COUNSELLOR]))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"email_verified": False}, "email_not_verified"),
        ({"email_verified": "true"}, "email_not_verified"),
        ({"email_verified": 1}, "email_not_verified"),
        ({"email_verified": None}, "email_not_verified"),
        ({"email": ""}, "no_email"),
        ({"email": ["bob@example.org"]}, "no_email"),
        ({"email": "bob"}, "email_malformed"),
        ({"email": "eve@example.org"}, "not_invited"),
    ],
)
async def test_only_a_proven_address_that_was_invited_is_let_in(
    acme: Connected, claims: dict[str, Any], reason: str
) -> None:
    await acme.invited()
    await acme.refused(f"not_admitted.{reason}", **claims)


async def test_whether_the_address_is_proven_must_be_said(acme: Connected) -> None:
    await acme.invited()
    browser = acme.world.browser()
    answer = await acme.visit(browser, email="bob@example.org")
    assert answer.status_code == 403
    assert (await acme.last())["outcome"] == "not_admitted.email_verified_missing"


async def test_an_invitation_that_makes_an_owner_is_accepted_by_its_link_alone(acme: Connected) -> None:
    await acme.invited(roles=["owner"], first_owner=True)
    await acme.refused("not_admitted.owner")


async def test_the_invitations_page_leads_to_the_provider_too(acme: Connected) -> None:
    """Design section 3.2: an accepted invitation, and no password."""
    bob = acme.world.member(acme.tenant, email="bob@example.org")
    path, link = f"/t/{acme.tenant.slug}/sign-in/{acme.id}", f"/t/{acme.tenant.slug}/invitation"
    code = await acme.world.invite(bob)
    browser = acme.world.browser()
    page = await browser.get(f"{link}/{code}", follow_redirects=True)
    form = {"do": "sign_in", "nonce": nonce_in(page.text, path)}
    there = sent_to(await browser.post(path, data=form))
    back = await browser.get(f"{acme.callback}?{acme.provider.authorize(there, **BOB)}")
    assert (back.status_code, back.headers["location"]) == (303, f"/t/{acme.tenant.slug}")
    assert (await acme.world.membership(bob)).person_id is None
    assert await acme.world.facts(bob) == ["issued", "ended(accepted)", "activated", "roles_changed", "signed_in"]


@pytest.mark.parametrize(
    ("fields", "admission", "offered"),
    [
        ({}, "invited", True),
        ({}, "off", False),
        ({"roles": ["owner"], "first_owner": True}, "invited", False),
        ({"starts_at": now() + timedelta(days=9), "blocked": ["outside_dates"]}, "invited", True),
    ],
)
async def test_the_provider_is_offered_where_it_leads_in(
    acme: Connected, fields: dict[str, Any], admission: str, offered: bool
) -> None:
    """Design section 3.6: what makes an owner is accepted by its link alone."""
    await acme.change(admission=admission)
    bob = acme.world.member(acme.tenant, email="bob@example.org", **fields)
    code = await acme.world.invite(bob)
    page = await acme.world.browser().get(f"/t/{acme.tenant.slug}/invitation/{code}", follow_redirects=True)
    assert page.status_code == 200
    assert (f"/t/{acme.tenant.slug}/sign-in/{acme.id}" in page.text) == offered


async def test_before_her_entry_date_she_accepts_and_waits(acme: Connected) -> None:
    """R-22, design section 2: the provider vouches for her, and she comes in from that day on."""
    soon = now() + timedelta(days=9)
    bob = await acme.invited(starts_at=soon, blocked=["outside_dates"])
    await acme.refused("access_barred.outside_dates")
    assert await acme.world.facts(bob) == ["issued", "ended(accepted)", "activated", "roles_changed"]
    await acme.refused("access_barred.outside_dates")
    await acme.world.deliver(bob, acme.world.next(bob, blocked=[], starts_at=None))
    await acme.signed_in()


async def test_nothing_is_accepted_in_a_closed_tenant(acme: Connected) -> None:
    bob, browser = await acme.invited(), acme.world.browser()
    query = acme.provider.authorize(await acme.go(browser), **BOB)
    await acme.world.change_tenant(acme.tenant, state="closed")
    assert (await browser.get(f"{acme.callback}?{query}")).status_code == 403
    assert await acme.world.facts(bob) == ["issued"]


async def test_who_was_sent_away_is_refused_and_not_made_anew(acme: Connected) -> None:
    """R-11: locked, revoked; the sessions she had are over."""
    bob = await acme.invited()
    browser = await acme.signed_in()
    await acme.world.lock(bob)
    assert (await acme.world.token(browser, acme.tenant)).status_code in (401, 403)
    answer = await acme.visit(acme.world.browser(), **BOB)
    assert (answer.status_code, (await acme.last())["outcome"]) == (403, "access_barred.locked")
    await acme.world.unlock(bob)
    await acme.signed_in()
    await acme.world.revoke(bob)
    await acme.refused("not_admitted.revoked")
    await acme.world.invite(bob)
    await acme.signed_in()


async def test_the_next_holder_is_not_the_last(acme: Connected) -> None:
    """Design section 4: a membership that another human accepts is closed to the subject that had it."""
    bob = await acme.invited()
    await acme.signed_in()
    first = (await acme.world.membership(bob)).holder
    await acme.world.revoke(bob)
    code = await acme.world.invite(bob, email="new@example.org")
    assert (await acme.world.accept(code)).status_code == 200
    assert (await acme.world.membership(bob)).holder == first + 1
    await acme.refused("not_admitted.revoked")


async def test_an_active_address_is_not_taken_over_she_connects_it_herself(acme: Connected) -> None:
    """R-14: by her own session alone, which a provider's is not."""
    bob, own = await acme.world.joined(acme.tenant, email="bob@example.org")
    await acme.change(admission="off")
    await acme.refused("not_admitted.off")
    person = (await acme.world.membership(bob)).person_id
    answer = await acme.visit(own, "connect", **BOB)
    assert answer.headers["location"].endswith("?done=connected"), answer.text
    browser = await acme.signed_in()
    assert (await acme.world.membership(bob)).person_id == person
    token = (await acme.world.token(browser, acme.tenant)).json()["access_token"]
    mine = (await browser.get("/identity/v1/sessions", headers={"Authorization": f"Bearer {token}"})).json()["items"]
    assert [one["current"] for one in mine] == [True]
    other = await acme.world.tenant()
    body = {"slug": other.slug}
    assert (await browser.post("/identity/v1/sessions/current/tenants", json=body, headers=CSRF)).status_code == 403
    _, hers = await acme.world.joined(acme.tenant, email="eve@example.org")
    answer = await acme.visit(hers, "connect", **BOB)
    assert (answer.status_code, (await acme.last())["outcome"]) == (409, "subject_taken")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NoSeat(), "no_seat"),
        (Refused("active"), "active"),
        (Refused("revoked"), "revoked"),
        (Refused("blocked"), "blocked"),
        (Refused("owner_preset"), "owner"),
        (Refused("marked_deleted"), "deleted"),
        (Refused("erased"), "deleted"),
    ],
)
async def test_members_decides_who_is_admitted_by_itself(acme: Connected, answer: AdmitAnswer, reason: str) -> None:
    """R-08, R-11: asked with what the provider has proven, and a key that is the subject's own."""
    members = Members(answer)
    put_members(acme, members)
    await acme.change(admission="automatic")
    await acme.refused(f"not_admitted.{reason}")
    [asked] = members.asked
    assert (asked.tenant_id, asked.email, asked.display_name) == (acme.tenant.id, "bob@example.org", "Bob")


async def test_whom_members_admits_comes_in_once_its_event_is_here(acme: Connected) -> None:
    bob = acme.world.member(acme.tenant, email="bob@example.org", way="sso")
    await acme.world.deliver(bob, acme.world.next_invite(bob))
    put_members(acme, Members(Admitted(bob.id, 0, 1)))
    await acme.change(admission="automatic")
    browser = await acme.signed_in()
    assert (await acme.world.token(browser, acme.tenant)).status_code == 200
    assert await acme.world.facts(bob) == ["ended(accepted)", "activated", "roles_changed", "signed_in"]


async def test_without_members_nobody_is_admitted_and_she_may_try_again(acme: Connected) -> None:
    await acme.change(admission="automatic")
    answer = await acme.visit(acme.world.browser(), **BOB)
    assert (answer.status_code, (await acme.last())["outcome"]) == (503, "unavailable")


# The browser that began it


async def test_a_way_back_is_good_once_in_time_and_in_the_browser_that_began_it(acme: Connected) -> None:
    """RFC 9700: state bound to the browser, one use; a stranger uses nothing up."""
    await acme.invited()
    browser = acme.world.browser()
    query = acme.provider.authorize(await acme.go(browser), **BOB)
    for stranger in (acme.world.browser(), await _with_another_cookie(acme, query)):
        assert (await stranger.get(f"{acme.callback}?{query}")).status_code == 403
    assert (await browser.get(f"{acme.callback}?{query}&state=twice")).status_code == 400
    assert (await browser.get(f"{acme.callback}?{query}")).status_code == 303
    again = await browser.get(f"{acme.callback}?{query}")
    assert STRINGS["error.sign_in_not_valid.no_cookie"][0] in again.text
    assert acme.provider.requests.count("/token") == 1


async def _with_another_cookie(acme: Connected, query: str) -> AsyncClient:
    """Of the same name, as somebody could plant who knows the state."""
    stranger = acme.world.browser()
    await acme.go(stranger)
    state = re.search(r"state=([^&]+)", query)
    assert state
    from services.identity.connections.attempts import cookie_name

    stranger.headers["Cookie"] = f"{cookie_name(state.group(1))}=planted"
    return stranger


async def test_a_used_or_late_way_back_leads_nowhere(acme: Connected) -> None:
    await acme.invited()
    browser = acme.world.browser()
    query = acme.provider.authorize(await acme.go(browser), **BOB)
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        await session.execute(update(ConnectionAttempt).values(deadline=now()))
    answer = await browser.get(f"{acme.callback}?{query}")
    assert STRINGS["error.sign_in_not_valid.late"][0] in answer.text


async def test_a_code_of_another_sign_in_is_not_taken(acme: Connected) -> None:
    """Code injection: the stolen code does not fit the verifier of this browser (RFC 7636)."""
    await acme.invited()
    victim, thief = acme.world.browser(), acme.world.browser()
    stolen = acme.provider.authorize(await acme.go(victim), **BOB)
    own = acme.provider.authorize(await acme.go(thief), sub="thief")
    mixed = re.sub(r"code=[^&]+", re.search(r"code=[^&]+", stolen).group(0), own)  # type: ignore[union-attr]
    assert (await thief.get(f"{acme.callback}?{mixed}")).status_code == 403
    assert (await acme.last())["outcome"] == "provider_refused.code"


async def test_an_answer_for_another_connection_is_not_taken(acme: Connected, world: World, as_: As) -> None:
    """Mix-up: each connection has its own address for the way back, and its own state."""
    async with connected(world, as_, acme.tenant) as other:
        browser = world.browser()
        query = acme.provider.authorize(await acme.go(browser), **BOB)
        answer = await browser.get(f"{other.callback}?{query}")
        assert STRINGS["error.sign_in_not_valid.connection"][0] in answer.text


async def test_nothing_secret_stands_in_the_tables(acme: Connected) -> None:
    browser = acme.world.browser()
    url = await acme.go(browser)
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        rows = await session.execute(text("SELECT row_to_json(a)::text FROM connection_attempts a"))
        kept = "".join(rows.scalars())
        rows = await session.execute(text("SELECT encode(client_secret, 'escape') FROM connections"))
        assert SECRET not in "".join(rows.scalars())
    for name in ("state", "nonce", "code_challenge"):
        found = re.search(rf"{name}=([^&]+)", url)
        assert found
        assert found.group(1) not in kept
    assert SECRET not in (await acme.admin.get(acme.path)).text
