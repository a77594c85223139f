"""Sign-in, sessions, tenants that they open; guessing, and who is not to be locked out by it."""

import uuid
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient
from sqlalchemy import event, select, update

from libs.common.db import PLATFORM, now
from libs.common.passwords import PasswordCosts, Passwords
from services.identity.sessions.sign_in import SignInRefused, sign_in
from services.identity.sessions.tables import CookieSession
from services.identity.throttling import rules as throttling
from services.identity.throttling.rules import Browser
from services.identity.throttling.tables import Attempts
from tests.identity.story import CSRF, PASSWORD, As, Member, World

CURRENT = "/identity/v1/sessions/current"


async def forget_waiting(world: World) -> None:
    """As if a while had passed."""
    async with world.doors.database.session(PLATFORM) as session:
        await session.execute(update(Attempts).values(wait_until=now()))


async def test_one_signs_in_by_login_name_or_by_address(world: World) -> None:
    """A-15, R-02: both whatever their case; at the tenant, and at the global page by address alone."""
    bob, _ = await world.joined(await world.tenant(), login_name="Böb Straße")
    for login in ("Böb Straße", " BÖB STRASSE ", bob.email, bob.email.upper()):
        assert (await world.sign_in(bob.tenant, login)).status_code == 201, login
    assert (await world.sign_in(None, bob.email)).json()["tenant"] == bob.tenant.slug
    assert (await world.sign_in(None, bob.login)).status_code == 401


async def test_the_same_names_in_another_tenant_are_other_people(world: World) -> None:
    """R-07, R-20: a login name is a tenant's own."""
    acme, globex = await world.tenant(), await world.tenant()
    await world.joined(acme, login_name="bob")
    await world.joined(globex, login_name="bob")
    await world.sign_in(acme, "bob", PASSWORD)
    eve = await world.sign_in(await world.tenant(), "bob", PASSWORD)
    assert eve.status_code == 401


async def test_a_member_who_was_only_invited_cannot_sign_in(world: World) -> None:
    """E-16: invitation and set-up are both needed."""
    bob = world.member(await world.tenant())
    await world.invite(bob)
    assert (await world.sign_in(bob.tenant, bob.login)).status_code == 401


async def test_who_is_not_there_gets_the_same_answer_as_who_mistyped(world: World) -> None:
    """Design section 12: enumeration-proof."""
    bob, _ = await world.joined(await world.tenant())
    bodies = set()
    for login in (bob.login, bob.email, "nobody", "nobody@example.org", "@", "a" * 320):
        answer = await world.sign_in(bob.tenant, login, "wrong wrong wrong")
        problem = answer.json()
        problem.pop("trace_id")
        bodies.add((answer.status_code, str(problem)))
    assert len(bodies) == 1


@pytest.mark.parametrize("login", ["", "bob\x00", "bob\n", "a" * 321])
async def test_what_nobody_could_be_called_is_malformed(world: World, login: str) -> None:
    assert (await world.sign_in(await world.tenant(), login)).json()["code"] == "malformed"


class CountingPasswords(Passwords):
    """Real ones, that say how often they were asked."""

    computed = 0

    async def verify(self, stored: str | None, password: str) -> bool:
        CountingPasswords.computed += 1
        return await super().verify(stored, password)


async def test_the_same_work_is_done_for_who_is_not_there(world: World) -> None:
    """As many statements, and one hash each: somebody known, unknown, at the tenant and at the global page."""
    bob, _ = await world.joined(await world.tenant())
    doors = msgspec.structs.replace(world.doors, passwords=CountingPasswords(PasswordCosts(1, 8)))
    statements: list[str] = []
    engine = world.doors.database.engine.sync_engine

    def count(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    async def work(slug: str | None, login: str) -> tuple[int, int]:
        statements.clear()
        CountingPasswords.computed = 0
        browser = Browser(f"2001:db8:{uuid.uuid4().int % 65536:x}::1", "", "")
        with pytest.raises(SignInRefused):
            await sign_in(doors, browser, slug=slug, login=login, password="wrong wrong wrong")
        return len(statements), CountingPasswords.computed

    event.listen(engine, "before_cursor_execute", count)
    try:
        at_tenant = {await work(bob.tenant.slug, login) for login in (bob.login, bob.email, "nobody", "no@example.org")}
        globally = {await work(None, login) for login in (bob.email, "no@example.org", "nobody")}
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert len(at_tenant) == len(globally) == 1
    assert {computed for _, computed in at_tenant | globally} == {1}


async def test_the_cookie_is_for_this_host_alone_and_new_at_each_sign_in(world: World) -> None:
    """ASVS 3.3, 7.2: __Host-, Secure, HttpOnly, SameSite; rotated; only a digest is stored."""
    bob, browser = await world.joined(await world.tenant())
    first = browser.cookies["__Host-session"]
    answer = await world.sign_in(bob.tenant, bob.login, browser=browser)
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith("__Host-session="))
    for part in ("Path=/", "Secure", "HttpOnly", "SameSite=lax"):
        assert part in cookie
    assert browser.cookies["__Host-session"] != first
    old = world.browser()
    old.cookies.set("__Host-session", first)
    assert (await old.get(CURRENT)).status_code == 401


@pytest.mark.parametrize("field", ["ends_at", "seen_at"])
async def test_a_session_ends_by_itself_when_idle_or_old(world: World, field: str) -> None:
    """ASVS 7.3: idle and absolute timeout."""
    _, browser = await world.joined(await world.tenant())
    one = (await browser.get(CURRENT)).json()["session_id"]
    async with world.doors.database.session(PLATFORM) as session:
        past = now() - timedelta(days=1)
        where = CookieSession.id == uuid.UUID(one)
        await session.execute(update(CookieSession).where(where).values(**{field: past}))
    assert (await world.token(browser)).status_code == 401


async def person_of_two(world: World) -> tuple[Member, Member, AsyncClient]:
    """Somebody with access to two tenants, signed in at the first."""
    bob, browser = await world.joined(await world.tenant(display_name="Acme"))
    other = world.member(await world.tenant(display_name="Globex"), email=bob.email)
    await world.confirm(await world.invite(other), browser)
    await world.sign_in(bob.tenant, bob.login, browser=browser)
    return bob, other, browser


async def test_one_chooses_and_switches_tenants_with_ones_own_credential(world: World) -> None:
    bob, other, _ = await person_of_two(world)
    fresh = world.browser()
    answer = (await world.sign_in(None, bob.email, browser=fresh)).json()
    assert answer["tenant"] is None
    assert [(one["name"], one["opened"]) for one in answer["tenants"]] == [("Acme", False), ("Globex", False)]
    assert (await world.token(fresh)).json()["code"] == "no_access_here"
    for member in (bob, other):
        opened = await fresh.post(f"{CURRENT}/tenants", json={"slug": member.tenant.slug}, headers=CSRF)
        assert opened.status_code == 200
        assert (await world.token(fresh, member.tenant)).status_code == 200
    assert (await world.token(fresh)).json()["code"] == "say_which_tenant"


@pytest.mark.parametrize("known", [True, False])
async def test_a_tenant_that_is_not_ones_own_cannot_be_opened(world: World, known: bool) -> None:
    """R-07: a tenant without access and one that is not there answer alike."""
    _, browser = await world.joined(await world.tenant())
    slug = (await world.tenant()).slug if known else "not-there"
    answer = await browser.post(f"{CURRENT}/tenants", json={"slug": slug}, headers=CSRF)
    assert (answer.status_code, answer.json()["code"]) == (403, "no_access_here")


async def test_leaving_or_losing_one_tenant_leaves_the_other_alone(world: World) -> None:
    """R-10: removing from tenant A leaves tenant B's session alive."""
    bob, other, browser = await person_of_two(world)
    await browser.post(f"{CURRENT}/tenants", json={"slug": other.tenant.slug}, headers=CSRF)
    assert (await browser.delete(f"{CURRENT}/tenants/{bob.tenant.slug}", headers=CSRF)).status_code == 204
    assert (await world.token(browser, bob.tenant)).status_code == 403
    assert (await world.token(browser, other.tenant)).status_code == 200
    await world.revoke(other)
    assert (await world.token(browser, other.tenant)).status_code == 403
    assert (await browser.get(CURRENT)).status_code == 200


async def test_signing_out_ends_the_session_and_its_tokens(world: World) -> None:
    """ASVS 7.4.1: the cookie is dead, and the stream of revocations is told."""
    _, browser = await world.joined(await world.tenant())
    one = (await browser.get(CURRENT)).json()["session_id"]
    secret = browser.cookies["__Host-session"]
    assert (await browser.delete(CURRENT, headers=CSRF)).status_code == 204
    browser.cookies.set("__Host-session", secret)
    assert (await browser.get(CURRENT)).status_code == 401
    assert f"revoked.session.{one}" in [row.subject for row in await world.told(PLATFORM)]


async def test_ones_own_sessions_are_listed_and_ended(world: World, as_: As) -> None:
    """ASVS 7.5.2"""
    bob, browser = await world.joined(await world.tenant())
    phone = world.browser(**{"User-Agent": "Phone"})
    await world.sign_in(bob.tenant, bob.login, browser=phone)
    headers = {"Authorization": f"Bearer {(await world.token(browser)).json()['access_token']}"}
    listed = (await browser.get("/identity/v1/sessions", headers=headers)).json()["items"]
    assert [(one["agent"], one["current"]) for one in listed] == [("Phone", False), (listed[1]["agent"], True)]
    assert (await browser.delete(f"/identity/v1/sessions/{listed[0]['id']}", headers=headers)).status_code == 204
    assert (await phone.get(CURRENT)).status_code == 401
    _, stranger = await world.joined(await world.tenant())
    theirs = (await stranger.get(CURRENT)).json()["session_id"]
    assert (await browser.delete(f"/identity/v1/sessions/{theirs}", headers=headers)).status_code == 404
    await world.sign_in(bob.tenant, bob.login, browser=phone)
    assert (await browser.delete("/identity/v1/sessions", headers=headers)).status_code == 204
    assert (await phone.get(CURRENT)).status_code == 401
    assert (await browser.get(CURRENT)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/identity/v1/sessions"),
        ("DELETE", "/identity/v1/sessions"),
        ("DELETE", f"/identity/v1/sessions/{uuid.UUID(int=1)}"),
        ("DELETE", "/identity/v1/operator/sessions/current"),
        ("GET", CURRENT),
        ("POST", "/identity/v1/token"),
        ("POST", "/identity/v1/refresh-tokens"),
        ("POST", "/identity/v1/password"),
        ("POST", f"{CURRENT}/tenants"),
        ("DELETE", f"{CURRENT}/tenants/acme"),
    ],
)
async def test_nobody_comes_in_without_a_token_or_a_cookie(world: World, method: str, path: str) -> None:
    """The first of four callers; what is another's is tried in the tests of each route."""
    bodies = {"password": {"current": PASSWORD, "new": PASSWORD}, "tenants": {"slug": "acme"}}
    body = bodies.get(path.rpartition("/")[2], {})
    answer = await world.browser().request(method, path, headers=CSRF, json=body if method == "POST" else None)
    assert answer.status_code == 401


async def test_guessing_waits_ever_longer_whether_the_account_is_there_or_not(world: World) -> None:
    """A retry-after that grows; the same for names that nobody has."""
    bob, _ = await world.joined(await world.tenant())
    for login in (bob.login, "nobody"):
        guesser = world.browser(ip="203.0.113.9" if login == "nobody" else "203.0.113.8")
        statuses = [
            (await world.sign_in(bob.tenant, login, f"guess number {n}", guesser)).status_code for n in range(8)
        ]
        assert statuses == [401] * 6 + [429] * 2
        waits = []
        for n in range(3):
            await forget_waiting(world)
            await world.sign_in(bob.tenant, login, f"another guess {n}", guesser)
            answer = await world.sign_in(bob.tenant, login, "one more guess", guesser)
            waits.append(int(answer.headers["retry-after"]))
        assert waits[0] < waits[1] < waits[2]


async def test_another_spelling_and_another_tenants_page_are_no_new_guesses(world: World) -> None:
    """An address has spellings without end (a soft hyphen is none), and every tenant's page asks for its password."""
    bob, _ = await world.joined(await world.tenant())
    other, name, domain = await world.tenant(), *bob.email.split("@")
    spelled = [f"{name}@{domain[:n]}\u00ad{domain[n:]}" for n in range(1, 4)]
    spelled += [bob.email.upper(), f"{name}@{domain.replace('.', '\u3002')}", f" {bob.email}"]
    guesser = world.browser(ip="203.0.113.7")
    assert [(await world.sign_in(bob.tenant, login, "a guess", guesser)).status_code for login in spelled] == [401] * 6
    assert (await world.sign_in(other, bob.email, "one more guess", guesser)).status_code == 429


async def test_guessing_locks_nobody_out(world: World) -> None:
    """Issue 3: from her own browser she comes in at once, from a new one elsewhere within half a minute."""
    bob, browser = await world.joined(await world.tenant())
    await world.sign_in(bob.tenant, bob.login, browser=browser)
    for n in range(52):
        await forget_waiting(world)
        await world.sign_in(bob.tenant, bob.login, f"guess number {n}", world.browser(ip=f"203.0.113.{n}"))
    elsewhere = world.browser(ip="198.51.100.77")
    refused = await world.sign_in(bob.tenant, bob.login, browser=elsewhere)
    assert (refused.status_code, int(refused.headers["retry-after"]) <= 30) == (429, True)
    assert (await world.sign_in(bob.tenant, bob.login, browser=browser)).status_code == 201
    await forget_waiting(world)
    assert (await world.sign_in(bob.tenant, bob.login, browser=elsewhere)).status_code == 201


async def test_the_right_password_clears_what_was_held_against_the_account(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    browser = world.browser(ip="198.51.100.9")
    for _ in range(4):
        await world.sign_in(bob.tenant, bob.login, "wrong wrong wrong", browser)
    assert (await world.sign_in(bob.tenant, bob.login, browser=browser)).status_code == 201
    account = throttling.digest("sign-in", bob.tenant.id, bob.login)
    network = throttling.digest("network", "198.51.100.9")
    async with world.doors.database.session(PLATFORM) as session:
        digests = [throttling.digest(account, network), throttling.digest("everywhere", account)]
        assert (await session.scalars(select(Attempts).where(Attempts.digest.in_(digests)))).all() == []


@pytest.mark.parametrize("fields", [{}, {"starts_at": now() + timedelta(days=9), "blocked": ["outside_dates"]}])
async def test_in_a_closed_tenant_no_invitation_is_accepted(world: World, fields: dict[str, Any]) -> None:
    acme = await world.tenant()
    bob = world.member(acme, **fields)
    code = await world.invite(bob)
    await world.change_tenant(acme, state="closed")
    assert (await world.accept(code)).json()["code"] == "tenant_closed"
    assert await world.facts(bob) == ["issued"]
    await world.change_tenant(acme, state="open")
    assert (await world.accept(code)).status_code == 200


async def test_a_closed_tenant_lets_nobody_in(world: World) -> None:
    acme = await world.tenant()
    bob, browser = await world.joined(acme)
    await world.change_tenant(acme, state="closed")
    assert (await world.sign_in(acme, bob.login)).json()["code"] == "tenant_closed"
    assert (await world.token(browser)).json()["code"] == "tenant_closed"
    told = [(row.subject, row.data) for row in await world.told(acme.id) if row.subject.startswith("revoked.tenant")]
    assert told == [(f"revoked.tenant.{acme.id}", {"closed": True})]
    await world.change_tenant(acme, state="open")
    assert (await world.token(browser)).status_code == 200


async def test_a_slug_leads_to_one_tenant_and_moves_with_it(world: World) -> None:
    acme = await world.tenant()
    bob, _ = await world.joined(acme)
    old, acme.slug = acme.slug, f"{acme.slug}-new"
    await world.change_tenant(acme, slug=acme.slug)
    assert (await world.sign_in(acme, bob.login)).status_code == 201
    body = {"slug": old, "login": bob.login, "password": PASSWORD}
    assert (await world.browser().post("/identity/v1/sessions", json=body)).status_code == 404


@pytest.mark.parametrize(
    "headers", [{}, {"X-CSRF": "1", "Sec-Fetch-Site": "cross-site"}, {"X-CSRF": "1", "Origin": "null"}]
)
async def test_what_acts_for_a_cookie_wants_our_own_page(world: World, headers: dict[str, str]) -> None:
    """ASVS 3.5: a header that no form can send, and the browser's word where the request comes from."""
    bob, browser = await world.joined(await world.tenant())
    calls = [
        browser.post("/identity/v1/token", json={}, headers=headers),
        browser.post("/identity/v1/refresh-tokens", json={}, headers=headers),
        browser.post(
            "/identity/v1/password", json={"current": PASSWORD, "new": "another one of mine"}, headers=headers
        ),
        browser.post(f"{CURRENT}/tenants", json={"slug": bob.tenant.slug}, headers=headers),
        browser.delete(f"{CURRENT}/tenants/{bob.tenant.slug}", headers=headers),
        browser.delete(CURRENT, headers=headers),
    ]
    for call in calls:
        assert (await call).json()["code"] == "cross_site"
    assert (await world.token(browser)).status_code == 200
