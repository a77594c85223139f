"""The pages, as a browser without JavaScript sees them: in German and English, with the tenant's face."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient, Response

from libs.common.db import Database
from libs.common.sweeps import sweep_once
from services.identity.pages import colours, strings
from services.identity.pages.agents import browser_name
from services.identity.pages.nonces import is_right, nonce_for
from services.identity.passwords.sweeps import requests
from tests.identity.conftest import sweeper_of
from tests.identity.story import PASSWORD, As, World
from tests.identity.test_local_credentials import HANDED, hand_over, without_email
from tests.identity.test_passwords import FRESH, code_in, mailed


def forms(page: Response) -> list[dict[str, str]]:
    """Each form's fields that have a value, with its action under `action`."""
    found = []
    for action, inside in re.findall(r'<form method="post" action="([^"]*)">(.*?)</form>', page.text, re.DOTALL):
        fields = dict(re.findall(r'name="([^"]+)"[^>]*? value="([^"]*)"', inside))
        found.append({"action": action, **fields})
    return found


async def press(browser: AsyncClient, page: Response, do: str = "", **fields: str) -> Response:
    """Fill in the form that does this, and press its button; redirects are followed."""
    form = next(form for form in forms(page) if form.get("do", "") == do)
    action = form.pop("action")
    return await browser.post(action, data={**form, **fields}, follow_redirects=True)


def says(page: Response, key: str, language: str = "de", **values: object) -> bool:
    text = strings.text(key, language, **values)
    return text.replace("'", "&#39;") in page.text or text in page.text


async def test_a_new_person_accepts_and_is_in(world: World) -> None:
    """D-03, D-11: the link leads to a clean address; a password accepts; no further verification."""
    bob = world.member(await world.tenant())
    code = await world.invite(bob)
    browser = world.browser()
    opened = await browser.get(f"/t/{bob.tenant.slug}/invitation/{code}")
    assert (opened.status_code, opened.headers["location"]) == (303, f"/t/{bob.tenant.slug}/invitation")
    page = await browser.get(opened.headers["location"])
    assert code not in page.text
    assert bob.email in page.text
    page = await press(browser, page, "accept", password="too short")
    assert page.status_code == 422
    assert says(page, "error.password_refused.too_short", shortest=12)
    page = await press(browser, page, "accept", password=PASSWORD)
    assert (page.status_code, page.url.path) == (200, f"/t/{bob.tenant.slug}")
    assert says(page, "welcome", name=bob.wanted.display_name)
    assert (await world.token(browser)).status_code == 200


async def test_an_existing_person_signs_in_and_confirms(world: World) -> None:
    """R-01: never a sign-up form."""
    bob, _ = await world.joined(await world.tenant())
    other = world.member(await world.tenant(), email=bob.email)
    browser, path = world.browser(), f"/t/{other.tenant.slug}/invitation"
    page = await browser.get(f"{path}/{await world.invite(other)}", follow_redirects=True)
    assert [form["do"] for form in forms(page)] == ["sign_in", "decline"]
    page = await press(browser, page, "sign_in", password="wrong wrong wrong")
    assert (page.status_code, says(page, "error.sign_in_refused")) == (401, True)
    page = await press(browser, page, "sign_in", password=PASSWORD)
    assert [form["do"] for form in forms(page)] == ["confirm", "decline"]
    page = await press(browser, page, "confirm")
    assert page.url.path == f"/t/{other.tenant.slug}"
    assert (await world.token(browser, other.tenant)).status_code == 200


async def test_a_wrong_person_is_told_so_and_can_switch(world: World) -> None:
    """R-06: both addresses masked, a way out, the invitation stays."""
    _, browser = await world.joined(await world.tenant(), email=f"eve-{uuid.uuid4().hex}@example.org")
    bob = world.member(await world.tenant())
    path = f"/t/{bob.tenant.slug}/invitation"
    page = await browser.get(f"{path}/{await world.invite(bob)}", follow_redirects=True)
    assert says(page, "mismatch", signed_in="e…@example.org", invited="b…@example.org")
    assert [form["do"] for form in forms(page)] == ["sign_out"]
    page = await press(browser, page, "sign_out")
    assert [form["do"] for form in forms(page)] == ["accept", "decline"]


async def test_declining_is_one_click_behind_a_fold(world: World) -> None:
    bob = world.member(await world.tenant())
    code = await world.invite(bob)
    browser, path = world.browser(), f"/t/{bob.tenant.slug}/invitation/{code}"
    page = await press(browser, await browser.get(path, follow_redirects=True), "decline")
    assert says(page, "declined")
    page = await browser.get(path, follow_redirects=True)
    assert (page.status_code, says(page, "error.invitation_declined")) == (410, True)


async def test_an_expired_invitation_offers_a_new_link(world: World) -> None:
    """D-34, T-17"""
    bob = world.member(await world.tenant(), deadline=datetime.now(UTC) - timedelta(minutes=1))
    browser = world.browser()
    page = await browser.get(f"/t/{bob.tenant.slug}/invitation/{await world.invite(bob)}", follow_redirects=True)
    assert (page.status_code, says(page, "error.invitation_expired")) == (410, True)
    for _ in range(2):
        answer = await press(browser, page, "renew")
        assert (answer.status_code, says(answer, "renewed")) == (200, True)
    assert (await world.facts(bob)).count("renewal_asked") == 1


async def test_before_the_entry_date_the_page_says_from_when(world: World) -> None:
    soon = datetime(2030, 6, 1, 7, 0, tzinfo=UTC)
    bob = world.member(await world.tenant(), starts_at=soon, blocked=["outside_dates"])
    browser = world.browser()
    page = await browser.get(f"/t/{bob.tenant.slug}/invitation/{await world.invite(bob)}", follow_redirects=True)
    page = await press(browser, page, "accept", password=PASSWORD)
    assert says(page, "accepted_waiting", time="01.06.2030, 09:00 Uhr")


async def test_an_entry_date_at_the_end_of_the_calendar_is_shown_too(world: World) -> None:
    """It is 10000 in Berlin already: she is in, and is told so by a page that can be drawn."""
    never = datetime(9999, 12, 31, 23, 30, tzinfo=UTC)
    bob = world.member(await world.tenant(), starts_at=never, blocked=["outside_dates"])
    browser = world.browser()
    page = await browser.get(f"/t/{bob.tenant.slug}/invitation/{await world.invite(bob)}", follow_redirects=True)
    page = await press(browser, page, "accept", password=PASSWORD)
    assert says(page, "accepted_waiting", time="31.12.9999, 23:30 Uhr")


async def test_signing_in_and_out_at_a_tenant(world: World) -> None:
    bob, _ = await world.joined(await world.tenant(display_name="Beratung <Nord>"))
    browser, path = world.browser(), f"/t/{bob.tenant.slug}"
    page = await browser.get(path)
    assert "Beratung &lt;Nord&gt;" in page.text
    page = await press(browser, page, "sign_in", login=bob.login, password="wrong wrong wrong")
    assert (page.status_code, f'value="{bob.login}"' in page.text) == (401, True)
    page = await press(browser, page, "sign_in", login=bob.login, password=PASSWORD)
    assert says(page, "welcome", name=bob.wanted.display_name)
    page = await press(browser, page, "sign_out")
    assert [form["do"] for form in forms(page)] == ["sign_in"]


async def test_choosing_and_switching_tenants(world: World) -> None:
    bob, first = await world.joined(await world.tenant(display_name="Acme"))
    other = world.member(await world.tenant(display_name="Globex"), email=bob.email)
    await world.confirm(await world.invite(other), first)
    browser = world.browser()
    page = await press(browser, await browser.get("/"), "sign_in", login=bob.email, password=PASSWORD)
    assert page.url.path == "/"
    assert [form.get("slug") for form in forms(page)] == [bob.tenant.slug, other.tenant.slug, None]
    page = await press(browser, page, "open")
    assert page.url.path == f"/t/{bob.tenant.slug}"
    page = await browser.get(f"/t/{other.tenant.slug}")
    assert says(page, "continue_as", who=bob.email)
    page = await press(browser, page, "open")
    assert page.url.path == f"/t/{other.tenant.slug}"
    page = await browser.get(f"/t/{(await world.tenant()).slug}")
    assert says(page, "no_access_yet", who=bob.email)


async def test_a_password_that_was_handed_over_is_changed_first(world: World, as_: As) -> None:
    """A-20: every page leads to choosing one's own; the old one need not be typed again."""
    bob = await without_email(world)
    await hand_over(as_("counsellor", bob.tenant.id), bob)
    browser, path = world.browser(), f"/t/{bob.tenant.slug}"
    page = await press(browser, await browser.get(path), "sign_in", login=bob.login, password=HANDED)
    assert page.url.path == f"{path}/change-password"
    assert says(page, "must_change")
    assert says(await browser.get(f"{path}/sessions"), "error.must_change_password")
    page = await press(browser, page, new="short")
    assert page.status_code == 422
    page = await press(browser, page, new=PASSWORD)
    assert (page.url.path, says(page, "password_changed")) == (path, True)


async def test_forgotten_and_reset_by_the_link(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    browser, path = world.browser(), f"/t/{bob.tenant.slug}"
    pages = []
    for typed in (bob.login, "nobody"):
        page = await press(browser, await browser.get(f"{path}/password"), login=typed)
        pages.append(page.text)
    assert pages[0] == pages[1]
    async with sweeper_of(world) as sweeper:
        await sweep_once(requests, world.doors.database, sweeper)
    code = code_in(world, (await mailed(world, bob))[-1])
    page = await browser.get(f"{path}/password/{code}", follow_redirects=True)
    assert (page.url.path, code in page.text) == (f"{path}/password/new", False)
    page = await press(browser, page, password="short")
    assert page.status_code == 422
    page = await press(browser, page, password=FRESH)
    assert says(page, "password_set")
    page = await press(browser, page, "sign_in", login=bob.login, password=FRESH)
    assert says(page, "welcome", name=bob.wanted.display_name)
    page = await browser.get(f"{path}/password/{code}", follow_redirects=True)
    assert (page.status_code, says(page, "error.reset_used")) == (410, True)


async def test_sessions_are_listed_and_ended(world: World) -> None:
    bob, browser = await world.joined(await world.tenant())
    phone = world.browser(**{"User-Agent": "Mozilla/5.0 (Android 15) Firefox/150.0"})
    await world.sign_in(bob.tenant, bob.login, browser=phone)
    path = f"/t/{bob.tenant.slug}/sessions"
    page = await browser.get(path)
    assert "Firefox, Android" in page.text
    page = await press(browser, page, "end")
    assert "Firefox, Android" not in page.text
    assert (await phone.get(path)).status_code == 401


async def test_a_page_that_asks_for_a_sign_in_says_so(world: World) -> None:
    bob, _ = await world.joined(await world.tenant())
    for page in ("sessions", "change-password"):
        answer = await world.browser().get(f"/t/{bob.tenant.slug}/{page}")
        assert (answer.status_code, says(answer, "error.unauthenticated")) == (401, True)


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_another_sites_form_is_refused_on_every_page(world: World, headers: dict[str, str]) -> None:
    slug = (await world.tenant()).slug
    for path in ("", "/invitation", "/password", "/password/new", "/change-password", "/sessions"):
        answer = await world.browser().post(f"/t/{slug}{path}", data={"do": "x"}, headers=headers)
        assert (answer.status_code, says(answer, "error.cross_site", "en")) == (403, True)


@pytest.mark.parametrize(
    "path",
    ["/t/%00", "/t/%FF", "/t/a%0D%0Ab", "/t/ACME", f"/t/{'a' * 100}", "/password/%00", "/t/acme/colour.css%00"],
)
async def test_a_path_that_nobody_could_have_been_given_is_not_there(world: World, path: str) -> None:
    assert (await world.browser().get(path)).status_code in (400, 404)


@pytest.mark.parametrize("code", ["%0D%0ASet-Cookie:%20a=b", "x;y=z", "%00", "a" * 5000])
async def test_what_is_no_code_sets_no_cookie(world: World, code: str) -> None:
    acme = await world.tenant()
    for page in ("invitation", "password"):
        answer = await world.browser().get(f"/t/{acme.slug}/{page}/{code}")
        assert (answer.status_code, says(answer, "error.link_unreadable")) == (400, True)
        assert not [line for line in answer.headers.get_list("set-cookie") if "device" not in line]


@pytest.mark.parametrize("body", [b"do=sign_in&login=%FF%00&password=%ED%A0%80", b"\xff\xfe", b"", b"a=1&a=2&nonce="])
async def test_a_form_that_no_browser_sends_is_refused(world: World, body: bytes) -> None:
    acme = await world.tenant()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    browser = world.browser()
    await browser.get(f"/t/{acme.slug}")
    answer = await browser.post(f"/t/{acme.slug}", content=body, headers=headers)
    assert 400 <= answer.status_code < 500


async def test_a_mistyped_address_and_a_part_that_is_away_are_told_by_pages(world: World) -> None:
    acme = await world.tenant()
    for path in ("nowhere", "nowhere/at/all"):
        page = await world.browser().get(f"/t/{acme.slug}/{path}")
        assert (page.status_code, says(page, "error.not_found")) == (404, True)
    state: Any = world.app.state
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    state.doors = msgspec.structs.replace(state.doors, database=away)
    page = await world.browser().get(f"/t/{acme.slug}")
    await away.close()
    assert (page.status_code, says(page, "error.unavailable", "en")) == (503, True)


async def test_what_is_wrong_is_marked_and_nothing_else(world: World) -> None:
    """WCAG 3.3.1: the field in question, and not her password for a tenant that is closed."""
    bob, browser = await world.joined(await world.tenant())
    path = f"/t/{bob.tenant.slug}"
    page = await press(browser, await browser.get(f"{path}/change-password"), current="wrong", new=FRESH)
    assert re.findall(r'<input id="(\w+)"[^>]*aria-invalid', page.text) == ["current"]
    page = await press(browser, page, current=PASSWORD, new="short")
    assert re.findall(r'<input id="(\w+)"[^>]*aria-invalid', page.text) == ["new"]
    page = await press(world.browser(), page, current=PASSWORD, new=FRESH)
    assert page.status_code == 403
    assert "aria-invalid" not in page.text


async def test_every_page_has_a_strict_policy_and_nothing_inline(world: World) -> None:
    """Design section 12: no inline code, nothing from elsewhere, no frame, no sniffing, nothing kept."""
    bob, browser = await world.joined(await world.tenant(colour="#aa0000"))
    slug = bob.tenant.slug
    for path in (
        "/",
        f"/t/{slug}",
        f"/t/{slug}/password",
        f"/t/{slug}/sessions",
        f"/t/{slug}/change-password",
        "/t/no",
    ):
        page = await browser.get(path)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page.text)
        assert "<html lang=" in page.text
        assert page.text.count("<h1>") == 1
        for field in re.findall(r'<input id="([^"]+)"', page.text):
            assert f'<label for="{field}">' in page.text


async def test_the_tenants_face_is_shown_and_only_safe_addresses_are_linked(world: World) -> None:
    acme = await world.tenant(
        colour="#ffd400", imprint_url="https://acme.example/imprint", privacy_url="javascript:alert(1)"
    )
    page = await world.browser().get(f"/t/{acme.slug}")
    assert "https://acme.example/imprint" in page.text
    assert "javascript:" not in page.text
    css = (await world.browser().get(f"/t/{acme.slug}/colour.css")).text
    assert "--brand: #ffd400; --on-brand: #000000" in css
    hostile = await world.tenant(colour="#fff; } body { display: none")
    assert "display" not in (await world.browser().get(f"/t/{hostile.slug}/colour.css")).text


async def test_the_language_is_chosen_else_hers_else_the_browsers_else_the_tenants(world: World) -> None:
    """R-27 for pages."""
    acme = await world.tenant(locale="de")
    path = f"/t/{acme.slug}"
    assert says(await world.browser().get(path), "forgot", "de")
    english = world.browser(**{"Accept-Language": "fr, en-GB;q=0.8, de;q=0.5"})
    assert says(await english.get(path), "forgot", "en")
    bob = world.member(acme, locale="de")
    page = await english.get(f"{path}/invitation/{await world.invite(bob)}", follow_redirects=True)
    assert says(page, "choose_password", "de")
    await english.get(f"{path}?lang=en")
    page = await english.get(f"{path}/invitation")
    assert says(page, "choose_password", "en")


def test_black_or_white_is_readable_on_any_colour() -> None:
    """WCAG 1.4.3: at least 4.5 to 1."""
    for red in range(0, 256, 15):
        for green in range(0, 256, 15):
            for blue in range(0, 256, 15):
                colour = f"#{red:02x}{green:02x}{blue:02x}"
                light, dark = sorted((colours.luminance(colour), colours.luminance(colours.on(colour))), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_nonce_is_good_for_one_browser_and_one_path() -> None:
    nonce = nonce_for("a browser", "/t/acme")
    assert is_right(nonce, "a browser", "/t/acme")
    for device, path in (("another", "/t/acme"), ("a browser", "/t/globex"), ("", "/t/acme")):
        assert not is_right(nonce, device, path)
    assert not is_right(nonce_for("", "/"), "", "/")


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36 Edg/150.0",
            "Edge, Windows",
        ),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/605.1", "Safari, iPhone"),
        ("curl/8.5.0", "curl"),
        ("", ""),
    ],
)
def test_browsers_are_named_so_that_people_recognise_them(agent: str, name: str) -> None:
    assert browser_name(agent) == name


def test_accept_language_is_read_by_weight() -> None:
    assert strings.accepted("fr;q=0.2, de-AT, en;q=0.9, xx;q=0") == ["de-AT", "en", "fr"]
    assert strings.accepted("de;q=nonsense") == []
    assert strings.language_of("fr", "de_AT") == "de"
    assert strings.language_of("", None) == "en"
