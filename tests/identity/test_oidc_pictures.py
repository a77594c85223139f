"""The provider's pages in a browser, on a phone and on a desk: nothing spills, nothing is forbidden, all is readable.

PICTURES=folder in the environment keeps them.
"""

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from httpx import AsyncClient
from playwright.async_api import Route, async_playwright

from tests.identity.conftest import As
from tests.identity.oidc import Connected, connected, nonce_in, sent_to
from tests.identity.story import ORIGIN, World

_MAPPING = {"groups_claim": "groups", "groups": [{"value": "leads", "permission_groups": ["supervisor"]}]}


@pytest.mark.timeout(400)
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine")
async def test_pages_fit_a_phone_and_a_desk(world: World, as_: As) -> None:
    async with connected(world, as_) as acme, async_playwright() as playwright:
        _, admin = await world.owner(acme.tenant)
        await acme.map(**_MAPPING)
        await _try(acme, admin, email="carla@example.org", email_verified=False, groups=["leads"], name="Carla")
        stranger = world.browser()
        base = f"/t/{acme.tenant.slug}"
        shown: list[tuple[str, AsyncClient, str]] = [
            ("sign-in", stranger, base),
            ("problem", stranger, f"{acme.callback}?state=x&code=y"),
            ("home", admin, base),
            ("connections", admin, f"{base}/connections"),
            ("connection", admin, f"{base}/connections/{acme.id}"),
        ]
        chromium = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        complaints: list[str] = []
        for width in (360, 1280):
            for name, client, path in shown:
                page = await chromium.new_page(viewport={"width": width, "height": 900})
                page.on("console", lambda message: complaints.append(message.text))

                await page.route("**/*", _answered_by(client))
                await page.goto(ORIGIN + path)
                for details in await page.query_selector_all("details"):
                    await details.evaluate("node => node.open = true")
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
                unnamed = "[...document.querySelectorAll('input:not([type=hidden]):not([hidden]),textarea,select')]"
                assert await page.evaluate(f"{unnamed}.filter(one => !one.labels.length).map(one => one.name)") == []
                assert await page.evaluate("document.querySelectorAll('h1').length") == 1
                ids = "[...document.querySelectorAll('[id]')].map(one => one.id)"
                found = await page.evaluate(ids)
                assert len(found) == len(set(found)), (name, sorted(found))
                if folder := os.environ.get("PICTURES"):
                    picture = Path(folder) / f"oidc-{name}-{width}.png"
                    await page.screenshot(path=str(picture), full_page=True)
                await page.close()
        await chromium.close()
        assert [one for one in complaints if "403" not in one] == []


def _answered_by(client: AsyncClient) -> Callable[[Route], Awaitable[None]]:
    async def answer(route: Route) -> None:
        got = await client.get(route.request.url.removeprefix(ORIGIN))
        headers = {name: value for name, value in got.headers.items() if name != "set-cookie"}
        await route.fulfill(status=got.status_code, headers=headers, body=got.content)

    return answer


async def _try(acme: Connected, admin: AsyncClient, **claims: object) -> None:
    path = f"/t/{acme.tenant.slug}/connections/{acme.id}"
    page = await admin.get(path)
    away = await admin.post(path, data={"do": "test", "nonce": nonce_in(page.text, path)})
    await admin.get(f"{acme.callback}?{acme.provider.authorize(sent_to(away), **claims)}")
