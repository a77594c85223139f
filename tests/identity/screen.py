"""Pages on a screen: a real browser, on a phone and on a desk, holds them against WCAG 2.1 A and AA (axe-core)."""

import os
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from httpx import AsyncClient, Response
from playwright.async_api import ConsoleMessage, Page, Route

from tests.identity.story import World

WIDTHS = (360, 1280)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]

_BROKEN = """rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']}).then(({violations}) =>
    violations.map(({id, help, nodes}) => `${id}: ${help}: ${nodes.map(one => one.target).join(', ')}`))"""
_SPILT = """() => [document.documentElement, ...document.querySelectorAll('body *')]
    .filter(one => !one.matches('input, textarea, select') && one.clientWidth && one.scrollWidth > one.clientWidth + 1)
    .map(one => one.outerHTML.slice(0, 200))"""
_NOT_SENT_ON = ("set-cookie", "refresh", "content-encoding", "content-length")


class Screen:
    """PICTURES=folder in the environment keeps what was seen."""

    def __init__(self, page: Page, world: World, language: str) -> None:
        self._page, self._world, self._language = page, world, language
        self._styles: AsyncClient = world.browser()
        self._shown: Response | None = None
        self._complaints: list[str] = []
        page.on("console", self._note)

    async def show(self, name: str, answer: Response) -> None:
        """The page as it was answered. Asserts that it is whole, and in the language of the story."""
        self._shown = answer
        await self._page.route("**/*", self._answer)
        await self._page.goto(str(answer.url))
        await self._page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert await self._page.evaluate("document.documentElement.lang") == self._language, name
        for width in WIDTHS:
            await self._page.set_viewport_size({"width": width, "height": 800})
            await self._keep(f"{name}-{self._language}-{width}.png")
            assert await self._page.evaluate(_SPILT) == [], (name, width)
        assert await self._page.evaluate(_BROKEN, RULES) == [], name
        assert self._complaints == [], name

    async def _answer(self, route: Route) -> None:
        """The page itself, and what it asks for. Where a page would go on by itself, it stays."""
        wanted, shown = route.request.url, cast(Response, self._shown)
        answer = shown if route.request.is_navigation_request() else await self._styles.get(urlsplit(wanted).path)
        headers = {name: value for name, value in answer.headers.items() if name not in _NOT_SENT_ON}
        await route.fulfill(status=answer.status_code, headers=headers, body=answer.content)

    def _note(self, message: ConsoleMessage) -> None:
        """Anything that the policy forbids, or that is not there; a page's own status is none."""
        page_itself = cast(dict[str, Any], message.location)["url"] == self._page.url
        if not (page_itself and "responded with a status of" in message.text):
            self._complaints.append(message.text)

    async def _keep(self, name: str) -> None:
        if folder := os.environ.get("PICTURES"):
            await self._page.screenshot(path=Path(folder) / name, full_page=True)
