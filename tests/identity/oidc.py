"""Words for stories about a tenant's own provider: set up by its admin, visited by its people."""

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import msgspec
from httpx import AsyncClient, Response

from libs.common.events.rpc import Admit, AdmitAnswer
from services.identity.pages.strings import STRINGS
from tests.identity import fake_provider
from tests.identity.fake_provider import CLIENT, SECRET, FakeProvider
from tests.identity.story import As, Member, Tenant, World

CONNECTIONS = "/identity/v1/connections"
BOB: dict[str, Any] = {"email": "bob@example.org", "email_verified": True, "name": "Bob"}
MAPPING = {
    "groups_claim": "groups",
    "groups": [
        {"value": "leads", "permission_groups": ["supervisor"]},
        {"value": "admins", "roles": ["admin"]},
    ],
}


class Connected(msgspec.Struct):
    """A tenant with an enabled connection to a provider."""

    world: World
    tenant: Tenant
    provider: FakeProvider
    admin: AsyncClient
    id: str

    @property
    def path(self) -> str:
        return f"{CONNECTIONS}/{self.id}"

    @property
    def callback(self) -> str:
        return f"/t/{self.tenant.slug}/connections/{self.id}/callback"

    async def go(self, browser: AsyncClient, do: str = "sign_in") -> str:
        """Press the button; the provider's address to which the browser is sent."""
        page = await browser.get(f"/t/{self.tenant.slug}")
        form = {"do": do, "nonce": nonce_in(page.text, f"/t/{self.tenant.slug}/sign-in/{self.id}")}
        return sent_to(await browser.post(f"/t/{self.tenant.slug}/sign-in/{self.id}", data=form))

    async def visit(self, browser: AsyncClient, do: str = "sign_in", **claims: Any) -> Response:
        """There and back."""
        query = self.provider.authorize(await self.go(browser, do), **claims)
        return await browser.get(f"{self.callback}?{query}")

    async def change(self, **fields: Any) -> dict[str, Any]:
        etag = (await self.admin.get(self.path)).headers["etag"]
        answer = await self.admin.patch(self.path, json=fields, headers={"If-Match": etag})
        assert answer.status_code == 200, answer.text
        return cast(dict[str, Any], answer.json())

    async def map(self, **mapping: Any) -> Response:
        etag = (await self.admin.get(self.path)).headers["etag"]
        return await self.admin.put(f"{self.path}/mapping", json=mapping, headers={"If-Match": etag})

    async def last(self) -> dict[str, Any]:
        """The newest attempt, as admins see it."""
        return cast(dict[str, Any], (await self.admin.get(f"{self.path}/attempts")).json()["items"][0])

    async def invited(self, **fields: Any) -> Member:
        """Bob."""
        member = self.world.member(self.tenant, **{"email": "bob@example.org", **fields})
        await self.world.invite(member)
        return member

    async def signed_in(self, **claims: Any) -> AsyncClient:
        browser = self.world.browser()
        answer = await self.visit(browser, **{**BOB, **claims})
        assert answer.status_code == 303, answer.text
        return browser

    async def refused(self, reason: str, **claims: Any) -> None:
        """By a page that says why, and noted so for the admins."""
        browser = self.world.browser()
        answer = await self.visit(browser, **{**BOB, **claims})
        assert answer.status_code in (403, 409), answer.text
        assert (await self.last())["outcome"] == reason
        assert STRINGS[f"error.{reason}"][0].partition("{")[0] in html.unescape(answer.text)
        assert (await self.world.token(browser, self.tenant)).status_code == 401

    async def grants(self, member: Member) -> set[tuple[str, str]]:
        found = (await self.admin.get(f"/identity/v1/members/{member.id}/roles")).json()["grants"]
        return {(one["name"], one["source"]) for one in found}


class Members:
    """members, as far as identity asks it here: one answer, and what was asked."""

    def __init__(self, answer: AdmitAnswer) -> None:
        self.answer, self.asked = answer, list[Admit]()

    async def request(self, subject: str, body: bytes, *, within: float) -> bytes:
        self.asked.append(msgspec.json.decode(body, type=Admit))
        return msgspec.json.encode(self.answer)


def put_members(acme: Connected, members: Members) -> None:
    state: Any = acme.world.app.state
    state.doors = msgspec.structs.replace(state.doors, bus=members)


@asynccontextmanager
async def connected(world: World, as_: As, tenant: Tenant | None = None, **fields: Any) -> AsyncIterator[Connected]:
    tenant = tenant or await world.tenant()
    async with fake_provider.running() as provider:
        admin = as_("owner", tenant.id)
        made = Connected(world, tenant, provider, admin, await create(admin, provider.issuer, **fields))
        assert (await admin.post(f"{made.path}/discover")).status_code == 200
        await made.change(state="enabled")
        yield made


async def create(admin: AsyncClient, issuer: str, **fields: Any) -> str:
    about = {"name": "Acme ID", "issuer": issuer, "client_id": CLIENT, "client_secret": SECRET}
    answer = await admin.post(CONNECTIONS, json={**about, **fields})
    assert answer.status_code == 201, answer.text
    return str(UUID(answer.json()["id"]))


def nonce_in(text: str, action: str) -> str:
    found = re.search(rf'action="{re.escape(action)}">\s*<input type="hidden" name="nonce" value="([^"]+)"', text)
    assert found, f"no form for {action} in {text}"
    return found.group(1)


def sent_to(page: Response) -> str:
    assert page.status_code == 200, page.text
    found = re.search(r'class="button" href="([^"]+)"', page.text)
    assert found, page.text
    url = html.unescape(found.group(1))
    assert page.headers["refresh"] == f"0;url={url}"
    return url
