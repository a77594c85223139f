"""The page is looked at by a parser and, where there is one, by a browser, under the policy it is served with."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import pytest
from httpx import AsyncClient
from litestar import Litestar

from libs.common import reference_page
from libs.common.app import build_app
from libs.common.http_client import Rules
from libs.common.reference_page import CSP, render_reference
from tests.browser import chromium
from tests.common.test_http_client import said, serving
from tests.common.test_openapi import THINGS, app, document  # noqa: F401 fixtures
from tests.conftest import ClientOf, CoreOf

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_is_whole_and_every_link_on_it_leads_somewhere(document: dict[str, Any]) -> None:  # noqa: F811
    page = Page(render_reference([document]))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert (link[1:] in page.ids) if link.startswith("#") else link == "/members/openapi.json"


async def test_everything_that_the_document_says_is_on_it(document: dict[str, Any]) -> None:  # noqa: F811
    text = Page(render_reference([document])).text
    for path, item in document["paths"].items():
        assert path in text
        assert all(operation["summary"] in text for operation in item.values())
    for wanted in ("name_taken", "too_heavy", "members:write", "Idempotency-Key", "PageOfThingOut", "Ada Lovelace"):
        assert wanted in text


async def test_it_needs_no_script_and_its_style_is_the_one_that_the_policy_allows(
    document: dict[str, Any],  # noqa: F811
) -> None:
    html = render_reference([document])
    page = Page(html)
    assert not page.tags & {"script", "img", "iframe", "object", "link", "form"}
    assert not [name for name in page.attributes if name == "style" or name.startswith("on")]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in CSP
    assert "unsafe" not in CSP


async def test_words_of_a_document_are_text(document: dict[str, Any]) -> None:  # noqa: F811
    hostile = "<script>alert(1)</script>`<b>`\"'>"
    document["paths"][THINGS]["get"] |= {"summary": hostile, "description": hostile, "tags": [hostile]}
    document["components"]["schemas"]["ThingIn"]["description"] = hostile
    page = Page(render_reference([document]))
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert page.open == []


@pytest.fixture
async def docs(core_of: CoreOf, client_of: ClientOf) -> AsyncIterator[tuple[AsyncClient, Litestar]]:
    core = await core_of("members")
    members = build_app(core, [])
    body = (await client_of(members).get("/members/openapi.json")).content
    async with serving(said(body, "Content-Type: application/json")) as server:
        origin = f"http://127.0.0.1:{server.port}"
        app = build_app(core, [reference_page.router(origin, ["members"])])
        yield client_of(app), app


async def test_it_is_served_from_what_the_services_say(docs: tuple[AsyncClient, Litestar]) -> None:
    client, _ = docs
    answer = await client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["content-type"].startswith("text/html")
    assert "Control Centre: members" in answer.text


async def test_a_service_that_is_away_is_left_out(core_of: CoreOf, client_of: ClientOf) -> None:
    refused = reference_page.router("http://127.0.0.1:1", ["members"], Rules(trusted=["http://127.0.0.1:1"]))
    answer = await client_of(build_app(await core_of("members"), [refused])).get("/docs")
    assert answer.status_code == 200
    assert "API reference" in answer.text


async def test_a_browser_shows_it_without_complaint_on_a_phone_and_on_a_desk(
    document: dict[str, Any],  # noqa: F811
) -> None:
    html = render_reference([document]).encode()
    answer = said(html, "Content-Type: text/html; charset=utf-8", f"Content-Security-Policy: {CSP}")
    complaints: list[str] = []
    async with serving(answer) as server, chromium() as browser:
        for width in (360, 1280):
            page = await browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: complaints.append(message.text))
            await page.goto(f"http://127.0.0.1:{server.port}/")
            for operation in await page.query_selector_all("details"):
                await operation.evaluate("node => node.open = true")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            colour = await page.evaluate("getComputedStyle(document.querySelector('.method.get')).fontWeight")
            assert colour == "700"  # the style was let in
    await asyncio.sleep(0)
    assert [one for one in complaints if "favicon" not in one] == []
