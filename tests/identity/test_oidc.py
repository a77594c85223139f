"""A tenant's own identity provider: who comes in by it, what its groups give, how it is set up, how one leaves."""

import html
import re
import time
import uuid
import warnings
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey
from sqlalchemy import select, text, update

from libs.common.changes import Audit
from libs.common.db import now
from libs.common.events.rpc import AdmitAnswer, Admitted, NoSeat, Refused
from services.identity.connections.tables import Connection, ConnectionAttempt
from services.identity.pages.strings import STRINGS
from tests.identity.conftest import As
from tests.identity.fake_provider import CLIENT, SECRET
from tests.identity.oidc import CONNECTIONS, Connected, Members, connected, create, nonce_in, put_members, sent_to
from tests.identity.story import CSRF, Member, World

BOB: dict[str, Any] = {"email": "bob@example.org", "email_verified": True, "name": "Bob"}
MAPPING = {
    "groups_claim": "groups",
    "groups": [
        {"value": "leads", "permission_groups": ["supervisor"]},
        {"value": "admins", "roles": ["admin"]},
    ],
}


@pytest.fixture
async def acme(world: World, as_: As) -> AsyncIterator[Connected]:
    async with connected(world, as_) as acme:
        yield acme


async def _invited(acme: Connected, **fields: Any) -> Member:
    member = acme.world.member(acme.tenant, **{"email": "bob@example.org", **fields})
    await acme.world.invite(member)
    return member


async def _signed_in(acme: Connected, **claims: Any) -> AsyncClient:
    browser = acme.world.browser()
    answer = await acme.visit(browser, **{**BOB, **claims})
    assert answer.status_code == 303, answer.text
    return browser


async def _refused(acme: Connected, reason: str, **claims: Any) -> None:
    browser = acme.world.browser()
    answer = await acme.visit(browser, **{**BOB, **claims})
    assert answer.status_code in (403, 409), answer.text
    assert (await acme.last())["outcome"] == reason
    assert STRINGS[f"error.{reason}"][0].partition("{")[0] in html.unescape(answer.text)
    assert (await acme.world.token(browser, acme.tenant)).status_code == 401


async def _grants(acme: Connected, member: Member) -> set[tuple[str, str]]:
    found = (await acme.admin.get(f"/identity/v1/members/{member.id}/roles")).json()["grants"]
    return {(one["name"], one["source"]) for one in found}


# Who comes in


async def test_an_invited_member_comes_in_with_what_was_preset_and_stays_one(acme: Connected) -> None:
    """R-14, C-39: no password, no person; the same subject is the same member, whatever her address is later."""
    bob = await _invited(acme, permission_groups=["counsellor"], granted_rights=["*", *_counsellor()])
    browser = await _signed_in(acme)
    me = (await acme.world.token(browser, acme.tenant)).json()
    assert me["expires_in"] > 0
    membership = await acme.world.membership(bob)
    assert (membership.state, membership.person_id) == ("active", None)
    assert ("counsellor", "invitation") in await _grants(acme, bob)
    holder = membership.holder
    await _signed_in(acme, email="married@example.org", email_verified=False)
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
    await _invited(acme)
    await _refused(acme, f"not_admitted.{reason}", **claims)


async def test_whether_the_address_is_proven_must_be_said(acme: Connected) -> None:
    await _invited(acme)
    browser = acme.world.browser()
    answer = await acme.visit(browser, email="bob@example.org")
    assert answer.status_code == 403
    assert (await acme.last())["outcome"] == "not_admitted.email_verified_missing"


async def test_an_invitation_that_makes_an_owner_is_accepted_by_its_link_alone(acme: Connected) -> None:
    await _invited(acme, roles=["owner"], first_owner=True)
    await _refused(acme, "not_admitted.owner")


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
    bob = await _invited(acme, starts_at=soon, blocked=["outside_dates"])
    await _refused(acme, "access_barred.outside_dates")
    assert await acme.world.facts(bob) == ["issued", "ended(accepted)", "activated", "roles_changed"]
    await _refused(acme, "access_barred.outside_dates")
    await acme.world.deliver(bob, acme.world.next(bob, blocked=[], starts_at=None))
    await _signed_in(acme)


async def test_nothing_is_accepted_in_a_closed_tenant(acme: Connected) -> None:
    bob, browser = await _invited(acme), acme.world.browser()
    query = acme.provider.authorize(await acme.go(browser), **BOB)
    await acme.world.change_tenant(acme.tenant, state="closed")
    assert (await browser.get(f"{acme.callback}?{query}")).status_code == 403
    assert await acme.world.facts(bob) == ["issued"]


async def test_who_was_sent_away_is_refused_and_not_made_anew(acme: Connected) -> None:
    """R-11: locked, revoked; the sessions she had are over."""
    bob = await _invited(acme)
    browser = await _signed_in(acme)
    await acme.world.lock(bob)
    assert (await acme.world.token(browser, acme.tenant)).status_code in (401, 403)
    answer = await acme.visit(acme.world.browser(), **BOB)
    assert (answer.status_code, (await acme.last())["outcome"]) == (403, "access_barred.locked")
    await acme.world.unlock(bob)
    await _signed_in(acme)
    await acme.world.revoke(bob)
    await _refused(acme, "not_admitted.revoked")
    await acme.world.invite(bob)
    await _signed_in(acme)


async def test_the_next_holder_is_not_the_last(acme: Connected) -> None:
    """Design section 4: a membership that another human accepts is closed to the subject that had it."""
    bob = await _invited(acme)
    await _signed_in(acme)
    first = (await acme.world.membership(bob)).holder
    await acme.world.revoke(bob)
    code = await acme.world.invite(bob, email="new@example.org")
    assert (await acme.world.accept(code)).status_code == 200
    assert (await acme.world.membership(bob)).holder == first + 1
    await _refused(acme, "not_admitted.revoked")


async def test_an_active_address_is_not_taken_over_she_connects_it_herself(acme: Connected) -> None:
    """R-14: by her own session alone, which a provider's is not."""
    bob, own = await acme.world.joined(acme.tenant, email="bob@example.org")
    await acme.change(admission="off")
    await _refused(acme, "not_admitted.off")
    person = (await acme.world.membership(bob)).person_id
    answer = await acme.visit(own, "connect", **BOB)
    assert answer.headers["location"].endswith("?done=connected"), answer.text
    browser = await _signed_in(acme)
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
    await _refused(acme, f"not_admitted.{reason}")
    [asked] = members.asked
    assert (asked.tenant_id, asked.email, asked.display_name) == (acme.tenant.id, "bob@example.org", "Bob")


async def test_whom_members_admits_comes_in_once_its_event_is_here(acme: Connected) -> None:
    bob = acme.world.member(acme.tenant, email="bob@example.org", way="sso")
    await acme.world.deliver(bob, acme.world.next_invite(bob))
    put_members(acme, Members(Admitted(bob.id, 0, 1)))
    await acme.change(admission="automatic")
    browser = await _signed_in(acme)
    assert (await acme.world.token(browser, acme.tenant)).status_code == 200
    assert await acme.world.facts(bob) == ["ended(accepted)", "activated", "roles_changed", "signed_in"]


async def test_without_members_nobody_is_admitted_and_she_may_try_again(acme: Connected) -> None:
    await acme.change(admission="automatic")
    answer = await acme.visit(acme.world.browser(), **BOB)
    assert (answer.status_code, (await acme.last())["outcome"]) == (503, "unavailable")


# The browser that began it


async def test_a_way_back_is_good_once_in_time_and_in_the_browser_that_began_it(acme: Connected) -> None:
    """RFC 9700: state bound to the browser, one use; a stranger uses nothing up."""
    await _invited(acme)
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
    await _invited(acme)
    browser = acme.world.browser()
    query = acme.provider.authorize(await acme.go(browser), **BOB)
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        await session.execute(update(ConnectionAttempt).values(deadline=now()))
    answer = await browser.get(f"{acme.callback}?{query}")
    assert STRINGS["error.sign_in_not_valid.late"][0] in answer.text


async def test_a_code_of_another_sign_in_is_not_taken(acme: Connected) -> None:
    """Code injection: the stolen code does not fit the verifier of this browser (RFC 7636)."""
    await _invited(acme)
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


# What groups give


async def test_groups_give_and_take_their_own_and_nothing_else(acme: Connected) -> None:
    """R-15: a missing claim changes nothing, an empty one takes what this connection gave; by hand stays by hand."""
    bob = await _invited(acme)
    assert (await acme.map(**MAPPING)).status_code == 200
    await _signed_in(acme, groups=["leads", "unknown"])
    assert await _grants(acme, bob) == {("supervisor", "sso")}
    path = f"/identity/v1/members/{bob.id}/roles"
    etag = (await acme.admin.get(path)).headers["etag"]
    by_hand = {"roles": [], "permission_groups": ["supervisor", "counsellor"]}
    assert (await acme.admin.put(path, json=by_hand, headers={"If-Match": etag})).status_code == 200
    assert await _noted(acme, "identity.membership.groups_missing") == []
    await _signed_in(acme)
    assert await _noted(acme, "identity.membership.groups_missing") == [bob.id]
    assert ("supervisor", "sso") in await _grants(acme, bob)
    before = (await acme.world.membership(bob)).av
    await _signed_in(acme, groups=["leads"])
    assert (await acme.world.membership(bob)).av == before
    await _signed_in(acme, groups=[])
    assert await _grants(acme, bob) == {("supervisor", "manual"), ("counsellor", "manual")}
    assert (await acme.world.membership(bob)).av > before


async def _noted(connected: Connected, fact: str) -> list[uuid.UUID]:
    """Of whom the history says so."""
    async with connected.world.doors.database.session(connected.tenant.id) as session:
        return list(await session.scalars(select(Audit.row_id).where(Audit.type == fact)))


async def test_two_connections_keep_their_grants_apart(acme: Connected, world: World, as_: As) -> None:
    bob = await _invited(acme)
    await acme.map(**MAPPING)
    await _signed_in(acme, groups=["leads"])
    async with connected(world, as_, acme.tenant) as other:
        await other.map(**MAPPING)
        own = world.browser()
        await world.revoke(bob)
        await world.invite(bob)
        assert (await other.visit(own, **BOB, groups=["leads"])).status_code == 303
        assert await _grants(acme, bob) == {("supervisor", "sso")}
        etag = (await other.admin.get(other.path)).headers["etag"]
        assert (await other.admin.delete(other.path, headers={"If-Match": etag})).status_code == 204
        assert await _grants(acme, bob) == set()
        assert (await world.token(own, acme.tenant)).status_code in (401, 403)


async def test_nobody_maps_what_he_may_not_give_and_owner_nobody(acme: Connected, as_: As) -> None:
    """Design section 5: may_grant of who confirms, at the mapping and at each sign-in."""
    owner = {"groups_claim": "groups", "groups": [{"value": "x", "roles": ["owner"]}]}
    answer = await acme.map(**owner)
    assert (answer.status_code, answer.json()["code"]) == (422, "owner_not_mapped")
    admin = as_("admin", acme.tenant.id)
    etag = (await admin.get(acme.path)).headers["etag"]
    answer = await admin.put(f"{acme.path}/mapping", json=MAPPING, headers={"If-Match": etag})
    assert (answer.status_code, answer.json()["code"]) == (403, "mapping_not_allowed")
    bob = await _invited(acme)
    assert (await acme.map(**MAPPING)).status_code == 200
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        row = await session.get_one(Connection, (acme.tenant.id, uuid.UUID(acme.id)))
        row.mapping_rights = [right for right in row.mapping_rights if right != "tenant:own"]
    await _signed_in(acme, groups=["admins", "leads"])
    assert await _grants(acme, bob) == {("supervisor", "sso")}


# Keys, and the way out


async def test_keys_change_without_an_outage_and_a_withdrawn_one_is_refused(acme: Connected) -> None:
    await _invited(acme)
    await _signed_in(acme)
    old = acme.provider.key
    acme.provider.key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    acme.provider.published = [acme.provider.key]
    await _age_keys(acme)
    await _signed_in(acme)
    acme.provider.key = old
    await _age_keys(acme)
    await _refused(acme, "answer_not_valid.unknown_key")


async def test_a_key_set_that_cannot_be_had_leaves_the_last_one_in_force(acme: Connected) -> None:
    await _invited(acme)
    acme.provider.answers["/keys"] = (500, {}, b"")
    await _age_keys(acme, days=2)
    await _signed_in(acme)


async def test_odd_tokens_do_not_make_us_hammer_the_provider(acme: Connected) -> None:
    await _invited(acme)
    acme.provider.header = {"kid": "two"}
    for _ in range(3):
        await acme.visit(acme.world.browser(), **BOB)
    assert acme.provider.requests.count("/keys") == 1


async def _age_keys(acme: Connected, days: int = 0) -> None:
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        aged = text("UPDATE connections SET keys_at = keys_at - make_interval(days => :days, mins => 5)")
        await session.execute(aged, {"days": days})


async def test_the_provider_ends_sessions_by_back_channel(acme: Connected) -> None:
    """Back-Channel Logout 1.0: by session or by subject; a token that is sent again ends nothing newer."""
    await _invited(acme)
    one, two = await _signed_in(acme, sid="s1"), await _signed_in(acme, sid="s2")
    path = f"/t/{acme.tenant.slug}/connections/{acme.id}/backchannel-logout"
    stranger = acme.world.browser()
    for wrong in (
        acme.provider.logout_token(sub="4711", nonce="x"),
        acme.provider.logout_token(sub="4711", events={}),
        acme.provider.logout_token(sub="4711", aud="somebody else"),
        acme.provider.logout_token(sub="4711", iat=int(time.time()) - 1000),
        acme.provider.logout_token(),
        acme.provider.logout_token(sub="4711", jti=None),
        "nonsense",
    ):
        assert (await stranger.post(path, data={"logout_token": wrong})).status_code == 400
    assert (await stranger.post(path)).status_code == 400
    assert (await acme.world.token(one, acme.tenant)).status_code == 200
    done = await stranger.post(path, data={"logout_token": acme.provider.logout_token(sid="s1")})
    assert (done.status_code, done.headers["cache-control"]) == (200, "no-store")
    assert (await acme.world.token(one, acme.tenant)).status_code == 401
    assert (await acme.world.token(two, acme.tenant)).status_code == 200
    everywhere = acme.provider.logout_token(sub="4711")
    assert (await stranger.post(path, data={"logout_token": everywhere})).status_code == 200
    assert (await acme.world.token(two, acme.tenant)).status_code == 401


async def test_signing_out_offers_the_providers_sign_out(acme: Connected) -> None:
    """RP-Initiated Logout 1.0, with the ID token as its hint."""
    await _invited(acme)
    browser = await _signed_in(acme)
    path = f"/t/{acme.tenant.slug}"
    page = await browser.get(path)
    page = await browser.post(path, data={"do": "sign_out", "nonce": nonce_in(page.text, path)})
    assert f"{acme.provider.issuer}/end?client_id=" in page.text
    assert "id_token_hint=" in page.text
    assert (await acme.world.token(browser, acme.tenant)).status_code == 401


# Setting it up


async def test_a_provider_that_describes_itself_badly_is_named_so(world: World, as_: As) -> None:
    """In words an admin can act on; nothing of it is kept, and it cannot be enabled."""
    tenant = await world.tenant()
    admin = as_("owner", tenant.id)
    from tests.identity import fake_provider

    async with fake_provider.running() as provider:
        id = await create(admin, provider.issuer)
        wrongs: list[tuple[dict[str, Any], str]] = [
            ({"issuer": "https://evil.example"}, "issuer"),
            ({"issuer": f"{provider.issuer}/"}, "issuer"),
            ({"response_types_supported": ["token"]}, "no_code_flow"),
            ({"code_challenge_methods_supported": ["plain"]}, "no_pkce"),
            ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "algorithms"),
            ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "client_authentication"),
            ({"token_endpoint": "file:///etc/passwd"}, "address"),
            ({"authorization_endpoint": f"{provider.issuer}/\r\nSet-Cookie: a=b"}, "address"),
            ({"end_session_endpoint": f"{provider.issuer}/schlüssel"}, "address"),
            ({"token_endpoint": None}, "not_a_description"),
            ({"response_types_supported": ["code", "\0"]}, "not_a_description"),
            ({"jwks_uri": "http://169.254.169.254/keys"}, "keys_not_allowed"),
            ({"jwks_uri": f"{provider.issuer}/nothing"}, "keys_missing"),
        ]
        for said, reason in wrongs:
            provider.said = said
            answer = await admin.post(f"{CONNECTIONS}/{id}/discover")
            assert (answer.status_code, answer.json().get("reason")) == (422, reason), answer.text
            assert f"error.provider_unfit.{reason}" in STRINGS
        provider.said = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            weak = RSAKey.generate_key(1024, {"kid": "weak"}).as_dict(private=False)
        for keys in ([], [weak], [{"kty": "oct", "k": "c2VjcmV0"}]):
            provider.published = list(keys)
            answer = await admin.post(f"{CONNECTIONS}/{id}/discover")
            assert (answer.status_code, answer.json().get("reason")) == (422, "no_keys"), answer.text
        answer = await admin.patch(f"{CONNECTIONS}/{id}", json={"state": "enabled"}, headers={"If-Match": '"1"'})
        assert (answer.status_code, answer.json()["code"]) == (409, "not_discovered")


async def test_a_test_sign_in_shows_what_comes_and_what_it_comes_to_and_changes_nothing(acme: Connected) -> None:
    _, browser = await acme.world.owner(acme.tenant)
    await acme.map(**MAPPING)
    await acme.change(state="disabled")
    path = f"/t/{acme.tenant.slug}/connections/{acme.id}"

    async def test(**claims: Any) -> str:
        page = await browser.get(path)
        assert page.status_code == 200, page.text
        away = await browser.post(path, data={"do": "test", "nonce": nonce_in(page.text, path)})
        from tests.identity.oidc import sent_to

        back = acme.provider.authorize(sent_to(away), **claims)
        answer = await browser.get(f"{acme.callback}?{back}", follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return html.unescape(answer.text)

    shown = await test(**{**BOB, "groups": ["leads", "admins"], "favourite": "tea"})
    for word in ("favourite", "member, admin, supervisor", "bob@example.org", STRINGS["test_good"][0]):
        assert word in shown, word
    shown = await test(email="bob@example.org", email_verified=False)
    assert STRINGS["error.remark.email_not_verified"][0] in shown
    assert STRINGS["error.remark.no_groups"][0] in shown
    acme.provider.header = {"kid": "two"}
    assert STRINGS["error.answer_not_valid.unknown_key"][0] in await test(**BOB)
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        assert (await session.scalars(text("SELECT count(*) FROM connection_subjects"))).one() == 0
    last = await acme.last()
    assert (last["purpose"], last["outcome"]) == ("test", "answer_not_valid.unknown_key")


async def test_a_preview_says_what_claims_would_come_to(acme: Connected) -> None:
    given = {"claims": {**BOB, "sub": "1", "groups": ["leads"], "locale": "de-AT"}, "mapping": MAPPING}
    answer = await acme.admin.post(f"{acme.path}/mapping/preview", json=given)
    assert answer.json() == {
        "subject": "1", "email": "bob@example.org", "display_name": "Bob", "locale": "de", "roles": [],
        "permission_groups": ["supervisor"], "groups": ["leads"], "remarks": [],
    }  # fmt: skip


async def test_who_may_do_what(acme: Connected, as_: As, world: World) -> None:
    """R-07: anonymous 401, without the right 403, another tenant's 404, allowed."""
    other = await world.tenant()
    etag = {"If-Match": '"99"'}
    about = {"name": "X", "issuer": acme.provider.issuer, "client_id": CLIENT, "client_secret": SECRET}
    routes: list[tuple[str, str, Any]] = [
        ("GET", acme.path, None),
        ("PATCH", acme.path, {"name": "Y"}),
        ("DELETE", acme.path, None),
        ("POST", f"{acme.path}/discover", None),
        ("PUT", f"{acme.path}/mapping", MAPPING),
        ("POST", f"{acme.path}/mapping/preview", {"claims": {}}),
        ("GET", f"{acme.path}/attempts", None),
        ("GET", f"{acme.path}/subjects", None),
    ]
    callers = {401: as_(None), 403: as_("counsellor", acme.tenant.id), 404: as_("owner", other.id)}
    for method, path, body in [*routes, ("GET", CONNECTIONS, None), ("POST", CONNECTIONS, about)]:
        for status, caller in callers.items():
            if status == 404 and path == CONNECTIONS:
                continue
            answer = await caller.request(method, path, json=body, headers=etag)
            assert answer.status_code == status, (method, path, status, answer.text)
    for method, path, body in routes:
        answer = await acme.admin.request(method, path, json=body, headers=etag)
        assert answer.status_code in (200, 412), (method, path, answer.text)
    assert (await callers[404].get(CONNECTIONS)).json() == {"items": []}
    assert len((await acme.admin.get(CONNECTIONS)).json()["items"]) == 1


async def test_members_are_found_by_the_providers_id(acme: Connected) -> None:
    """C-16: the identity provider's id and its id of somebody."""
    bob = await _invited(acme)
    await _signed_in(acme)
    found = (await acme.admin.get(f"{acme.path}/subjects", params={"subject": "4711"})).json()["items"]
    assert [(one["member_id"], one["subject"]) for one in found] == [(str(bob.id), "4711")]
    assert (await acme.admin.get(f"{acme.path}/subjects", params={"subject": "0815"})).json()["items"] == []


async def test_setup_pages_are_for_admins(acme: Connected) -> None:
    _, member = await acme.world.joined(acme.tenant)
    for path in ("connections", f"connections/{acme.id}"):
        assert (await member.get(f"/t/{acme.tenant.slug}/{path}")).status_code == 403
        assert (await acme.world.browser().get(f"/t/{acme.tenant.slug}/{path}")).status_code == 401


async def test_an_admin_sets_it_up_by_page(world: World) -> None:
    """Made, mapped, enabled and removed without JavaScript."""
    tenant = await world.tenant()
    _, browser = await world.owner(tenant)
    base = f"/t/{tenant.slug}/connections"
    from tests.identity import fake_provider

    async with fake_provider.running() as provider:
        page = await browser.get(base)
        about = {"name": "Acme ID", "issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET}
        page = await browser.post(base, data={**about, "nonce": nonce_in(page.text, base)}, follow_redirects=True)
        assert (page.status_code, page.url.path.startswith(base + "/")) == (200, True), page.text
        path = page.url.path
        assert f"{path}/callback" in page.text

        async def press(do: str, **fields: Any) -> str:
            current = await browser.get(path)
            version = re.search(r'name="version" value="(\d+)"', current.text)
            sent = {"do": do, "nonce": nonce_in(current.text, path), "version": version.group(1) if version else "0"}
            answer = await browser.post(path, data={**sent, **fields}, follow_redirects=True)
            assert answer.status_code in (200, 400), answer.text
            return html.unescape(answer.text)

        assert "leads = supervisor" in await press("map", groups_claim="groups", groups="leads = supervisor")
        refused = await press("map", groups_claim="groups", groups="leads = admin\noops")
        assert ">leads = admin\noops</textarea>" in refused
        assert "supervisor" in await press("preview", claims='{"sub": "1", "groups": ["leads"]}')
        assert STRINGS["disable"][0] in await press("enable")
        assert "Acme ID" in (await world.browser().get(f"/t/{tenant.slug}")).text
        assert "Neu" in await press("change", name="Neu", client_id=CLIENT, scopes="openid", admission="off")
        assert STRINGS["no_connections"][0] in await press("delete")
