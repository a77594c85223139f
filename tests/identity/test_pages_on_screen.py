"""Every page in every state that people meet: in German and English, on a phone and on a desk, for all to read."""

import re
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient, Response
from playwright.async_api import Browser
from sqlalchemy import update

from libs.common.db import PLATFORM
from libs.common.events.rpc import NoSeat
from libs.common.stack import npm
from services.identity.pages.views import LANGUAGE
from services.identity.passwords.tables import PasswordReset
from tests.browser import chromium
from tests.identity import fake_provider
from tests.identity.fake_provider import CLIENT, SECRET
from tests.identity.oidc import Connected, Members, connected, nonce_in, put_members, sent_to
from tests.identity.screen import Screen
from tests.identity.story import PASSWORD, As, Member, Tenant, World
from tests.identity.test_local_credentials import hand_over, without_email
from tests.identity.test_pages import press
from tests.identity.test_passwords import answered, code_in, mailed, reset_code

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("chromium")]

FACE: dict[str, Any] = {
    "display_name": "Familienberatungsstelle Mecklenburg-Vorpommern (Nord) e. V.",
    "colour": "#7a1f5c",
    "imprint_url": "https://acme.example/imprint",
    "privacy_url": "https://acme.example/privacy",
}
GROUPS = ["leads = supervisor", "a very long group name that somebody has given at the provider = admin"]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("axe")
    npm.install(Path(__file__).with_name("axe"), folder)
    return folder / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(params=["de", "en"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def screen(browser: Browser, axe: Path, world: World, language: str) -> AsyncIterator[Screen]:
    page = await browser.new_page()
    await page.add_init_script(path=axe)
    yield Screen(page, world, language)
    await page.close()


def _long() -> str:
    return f"{uuid.uuid4().hex[:6]}.ottilie-wilhelmine.von-und-zu-hohenlohe-langenburg@familienberatung-nord.example"


class People(msgspec.Struct):
    """Who all speak the language of the story."""

    world: World
    language: str

    def visitor(self, browser: AsyncClient | None = None) -> AsyncClient:
        browser = browser or self.world.browser()
        browser.cookies.set(LANGUAGE, self.language)
        return browser

    async def joined(self, tenant: Tenant, **fields: Any) -> tuple[Member, AsyncClient]:
        member, browser = await self.world.joined(tenant, **fields)
        return member, self.visitor(browser)

    async def open(self, member: Member, code: str | None = None, browser: AsyncClient | None = None) -> Response:
        """The page behind the link of her invitation; a new one, if none is given."""
        code = code or await self.world.invite(member)
        path = f"/t/{member.tenant.slug}/invitation/{code}"
        return await self.visitor(browser).get(path, follow_redirects=True)


@pytest.fixture
def people(world: World, language: str) -> People:
    return People(world, language)


async def test_signing_in_and_looking_around(world: World, people: People, screen: Screen) -> None:
    acme, other = await world.tenant(**FACE), await world.tenant(display_name="Globex", colour="#ffd400")
    bob, own = await people.joined(
        acme, email=_long(), display_name="Ottilie-Wilhelmine von und zu Hohenlohe-Langenburg"
    )
    path = f"/t/{acme.slug}"
    visitor = people.visitor()
    page = await visitor.get(path)
    await screen.show("sign-in", page)
    await screen.show("sign-in-refused", await press(visitor, page, "sign_in", login=bob.login, password="wrong"))
    page = await visitor.get("/")
    await screen.show("global-sign-in", page)
    await screen.show(
        "global-sign-in-refused", await press(visitor, page, "sign_in", login=bob.email, password="wrong")
    )
    await screen.show("home", await own.get(path))
    await screen.show("home-after-change", await own.get(f"{path}?done=changed"))
    await screen.show("no-access", await own.get(f"/t/{other.slug}"))
    again = world.member(other, email=bob.email)
    await world.confirm(await world.invite(again), own)
    await screen.show("choose", await own.get("/"))
    page = await press(visitor, await visitor.get("/"), "sign_in", login=bob.email, password=PASSWORD)
    await screen.show("continue", await visitor.get(f"/t/{other.slug}"))
    await screen.show("sessions", await own.get(f"{path}/sessions"))
    page = await own.get(f"{path}/change-password")
    await screen.show("change-password", page)
    await screen.show("change-password-refused", await press(own, page, current="wrong", new="a fish that sings"))


async def test_not_getting_in(world: World, people: People, screen: Screen) -> None:
    acme = await world.tenant(**FACE)
    bob, own = await people.joined(acme)
    path, visitor = f"/t/{acme.slug}", people.visitor()
    await screen.show("asked-to-sign-in", await visitor.get(f"{path}/sessions"))
    await screen.show("no-such-tenant", await visitor.get("/t/nobody-at-all"))
    await screen.show("no-such-page", await visitor.get(f"{path}/nowhere"))
    await screen.show("forbidden", await own.get(f"{path}/connections"))
    crossing = {"Sec-Fetch-Site": "cross-site"}
    await screen.show("cross-site", await visitor.post(path, data={"do": "sign_in"}, headers=crossing))
    await screen.show("page-expired", await visitor.post(path, data={"do": "sign_in", "nonce": "another"}))
    page = await visitor.get(path)
    await world.lock(bob)
    await screen.show("locked", await press(visitor, page, "sign_in", login=bob.login, password=PASSWORD))
    while (refused := await press(visitor, page, "sign_in", login="nobody", password="wrong")).status_code != 429:
        assert refused.status_code == 401
    await screen.show("too-many-tries", refused)
    await world.change_tenant(acme, state="closed")
    eve = people.visitor(world.browser(ip="192.0.2.77"))
    await screen.show("closed", await press(eve, await eve.get(path), "sign_in", login=bob.login, password=PASSWORD))
    await world.revoke(bob)
    await screen.show(
        "nowhere-to-go", await press(eve, await eve.get("/"), "sign_in", login=bob.email, password=PASSWORD)
    )


async def test_passwords(world: World, people: People, screen: Screen, as_: As) -> None:
    acme = await world.tenant(**FACE)
    bob, _ = await people.joined(acme)
    path, visitor = f"/t/{acme.slug}", people.visitor()
    page = await visitor.get(f"{path}/password")
    await screen.show("forgot", page)
    await screen.show("forgot-sent", await press(visitor, page, login=bob.login))
    await screen.show("forgot-global", await visitor.get("/password"))
    await answered(world)
    code = code_in(world, (await mailed(world, bob))[-1])
    page = await visitor.get(f"{path}/password/{code}", follow_redirects=True)
    await screen.show("reset", page)
    await screen.show("reset-refused", await press(visitor, page, password="short"))
    await screen.show("reset-done", await press(visitor, page, password="a fish that sings loudly"))
    await screen.show("reset-used", await visitor.get(f"{path}/password/{code}", follow_redirects=True))
    await screen.show("reset-link-missing", await people.visitor().get(f"{path}/password/new"))
    late = await reset_code(world, bob)
    async with world.doors.database.session(PLATFORM) as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await session.execute(update(PasswordReset).values(deadline=past))
    mail = (await mailed(world, bob))[-1]
    late = code_in(world, {**mail, "deadline": past.isoformat()})
    await screen.show("reset-late", await visitor.get(f"{path}/password/{late}", follow_redirects=True))

    eve = await without_email(world)
    await hand_over(as_("counsellor", eve.tenant.id), eve)
    page = await visitor.get(f"/t/{eve.tenant.slug}")
    page = await press(visitor, page, "sign_in", login=eve.login, password="handed over on paper")
    await screen.show("must-change", page)
    await screen.show("must-change-refused", await press(visitor, page, new="short"))
    await screen.show("must-change-first", await visitor.get(f"/t/{eve.tenant.slug}/sessions"))


async def test_invitations(world: World, people: People, screen: Screen) -> None:
    acme, other = await world.tenant(**FACE), await world.tenant()
    visitor, bob = people.visitor(), world.member(acme, email=_long())
    page = await people.open(bob, browser=visitor)
    await screen.show("invitation-new", page)
    await screen.show("invitation-password-refused", await press(visitor, page, "accept", password="password1234"))
    await screen.show("invitation-accepted", await press(visitor, page, "accept", password=PASSWORD))

    known, own = await people.joined(other)
    again = world.member(acme, email=known.email)
    code, visitor = await world.invite(again), people.visitor()
    page = await people.open(again, code, visitor)
    await screen.show("invitation-known", page)
    await screen.show("invitation-sign-in-refused", await press(visitor, page, "sign_in", password="wrong"))
    await screen.show("invitation-confirm", await people.open(again, code, own))
    _, hers = await people.joined(other)
    page = await people.open(again, code, hers)
    await screen.show("invitation-mismatch", page)

    soon = datetime(2030, 6, 1, 7, 0, tzinfo=UTC)
    waiting, visitor = world.member(acme, starts_at=soon, blocked=["outside_dates"]), people.visitor()
    page = await people.open(waiting, browser=visitor)
    await screen.show("invitation-waits", await press(visitor, page, "accept", password=PASSWORD))
    fay, visitor = world.member(acme), people.visitor()
    page = await people.open(fay, browser=visitor)
    await screen.show("invitation-declined", await press(visitor, page, "decline"))


async def test_invitations_that_do_not_work(world: World, people: People, screen: Screen) -> None:
    acme = await world.tenant(**FACE)
    path = f"/t/{acme.slug}/invitation"
    expired = world.member(acme, deadline=datetime.now(UTC) - timedelta(minutes=1))
    visitor = people.visitor()
    page = await people.open(expired, browser=visitor)
    await screen.show("invitation-expired", page)
    await screen.show("invitation-renewed", await press(visitor, page, "renew"))
    replaced = world.member(acme)
    code = await world.invite(replaced)
    await world.invite(replaced)
    await screen.show("invitation-replaced", await people.open(replaced, code))
    revoked = world.member(acme)
    code = await world.invite(revoked)
    await world.revoke(revoked)
    await screen.show("invitation-revoked", await people.open(revoked, code))
    used = world.member(acme)
    code = await world.invite(used)
    await world.accept(code)
    await screen.show("invitation-used", await people.open(used, code))
    declined = world.member(acme)
    code = await world.invite(declined)
    await world.browser().post("/identity/v1/invitations/decline", json={"code": code})
    await screen.show("invitation-declined-before", await people.open(declined, code))
    locked = world.member(acme)
    code = await world.invite(locked)
    await world.lock(locked)
    await screen.show("invitation-locked", await people.open(locked, code))
    await screen.show("invitation-link-missing", await people.visitor().get(path))
    await screen.show("invitation-link-broken", await people.visitor().get(f"{path}/{code[:20]}"))


async def test_coming_in_by_a_provider(world: World, people: People, screen: Screen, as_: As) -> None:
    tenant = await world.tenant(**FACE)
    async with connected(world, as_, tenant, name="Landesverband") as acme:
        visitor = people.visitor()
        page = await visitor.get(f"/t/{tenant.slug}")
        await screen.show("sign-in-with-provider", page)
        path = f"/t/{tenant.slug}/sign-in/{acme.id}"
        form = {"do": "sign_in", "nonce": nonce_in(page.text, path)}
        page = await visitor.post(path, data=form)
        await screen.show("provider-leaving", page)
        back = acme.provider.authorize(sent_to(page), email="eve@example.org", email_verified=True)
        await screen.show("provider-not-invited", await visitor.get(f"{acme.callback}?{back}"))
        await screen.show("provider-used", await visitor.get(f"{acme.callback}?{back}"))
        await acme.change(admission="automatic")
        bob: dict[str, Any] = {"email": "bob@example.org", "email_verified": True, "name": "Bob"}
        await screen.show("provider-members-away", await acme.visit(visitor, **bob))
        put_members(acme, Members(NoSeat()))
        await screen.show("provider-no-seat", await acme.visit(visitor, **bob))
        invited = world.member(tenant, email=bob["email"])
        await screen.show("invitation-with-provider", await people.open(invited))
        assert (await acme.visit(visitor, **bob)).status_code == 303
        page = await visitor.get(f"/t/{tenant.slug}")
        await screen.show("home-by-provider", page)
        await screen.show("signed-out", await press(visitor, page, "sign_out"))
        _, own = await people.joined(tenant)
        await screen.show("home-to-connect", await own.get(f"/t/{tenant.slug}?done=connected"))


async def test_connecting_a_provider(world: World, people: People, screen: Screen) -> None:
    tenant = await world.tenant(**FACE)
    _, admin = await world.owner(tenant)
    people.visitor(admin)
    base = f"/t/{tenant.slug}/connections"
    async with fake_provider.running() as provider:
        page = await admin.get(base)
        await screen.show("connections-none", page)
        about = {"name": "Landesverband", "client_id": CLIENT, "client_secret": SECRET}
        wrong = await press(admin, page, issuer=f"{provider.issuer}/nowhere", **about)
        await screen.show("connection-not-reached", wrong)
        page = await press(admin, page, issuer=provider.issuer, **about)
        await screen.show("connection-new", page)
        acme = Connected(world, tenant, provider, admin, re.findall(r"[^/]+$", page.url.path)[0])
        good: dict[str, Any] = {"email": _long(), "email_verified": False, "groups": ["leads"]}
        for name, claims in ("good", good), ("bad", {"aud": "another"}):
            away = await press(admin, await admin.get(page.url.path), "test")
            back = acme.provider.authorize(sent_to(away), **claims)
            tested = await admin.get(f"{acme.callback}?{back}", follow_redirects=True)
            await screen.show(f"connection-tested-{name}", tested)
        page = await press(admin, tested, "map", groups_claim="groups", groups="\n".join(GROUPS))
        await screen.show("connection-mapped", page)
        await screen.show("connection-line-refused", await press(admin, page, "map", groups="oops"))
        claims_typed = '{"sub": "4711", "email": "carla@example.org", "email_verified": true, "groups": ["leads"]}'
        await screen.show("connection-preview", await press(admin, page, "preview", claims=claims_typed))
        page = await press(admin, page, "enable")
        await screen.show("connection-enabled", page)
        await screen.show("connection-outdated", await press(admin, tested, "map"))
        await screen.show("connections", await admin.get(base))
