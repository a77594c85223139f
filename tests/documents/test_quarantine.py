"""Nothing that is harmful, forbidden or unchecked can be downloaded, and the uploader is told why."""

import io
import uuid
import zipfile
from collections.abc import AsyncIterator

import msgspec
import pytest
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db import Database
from services.documents.app import create_app
from services.documents.scanner import Scanner
from services.documents.settings import Settings
from services.documents.uploads.intake import check_due
from services.documents.work import work_once
from services.documents.worker import CHECKS_DUE
from tests.conftest import CoreOf
from tests.documents.conftest import DOCUMENTS, PDF, UPLOADS, As
from tests.documents.scanner import EICAR, StandIn


@pytest.fixture
async def clamd() -> AsyncIterator[StandIn]:
    async with StandIn() as running:
        yield running


@pytest.fixture
async def app(core_of: CoreOf, settings: Settings, clamd: StandIn) -> AsyncIterator[Litestar]:
    """With a scanner, which answers within a second or is away."""
    app = create_app(msgspec.structs.replace(settings, scanner_url=clamd.url), await core_of("documents"))
    app.state.edges.scanner._within = 1.0
    async with app.lifespan():
        yield app


async def test_what_the_scanner_finds_is_refused(as_: As, bob: uuid.UUID, clamd: StandIn) -> None:
    carla = as_("counsellor")
    for body in (EICAR, b"x" * 9_000_000 + EICAR):
        answer = await carla.upload(bob, body, "harmlos.txt")
        assert (answer.status_code, answer.json()["code"]) == (422, "harm_found")
    assert await carla.names() == []
    assert [one["reason"] for one in (await carla.get(UPLOADS)).json()["items"]] == ["harm_found"] * 2
    await carla.file(bob)
    assert clamd.scanned == 3


@pytest.mark.parametrize("mood", ["away", "silent", "rude", "confused"])
async def test_without_a_verdict_nothing_is_downloaded_and_it_says_so(
    as_: As,
    bob: uuid.UUID,
    clamd: StandIn,
    app: Litestar,
    sweeper: AsyncEngine,
    database: Database,
    acme: uuid.UUID,
    mood: str,
) -> None:
    """Scanner away means not downloadable; the file is scanned when it is back."""
    clamd.mood = mood
    port = int(clamd.url.rpartition(":")[2])
    if mood == "away":
        await clamd.stop()
    carla = as_("counsellor")
    answer = await carla.upload(bob)
    assert answer.status_code == 202, answer.text
    upload = answer.json()
    assert (upload["state"], upload["reason"], upload["document"]) == ("quarantined", "scanner_away", None)
    refused = await carla.get(f"{DOCUMENTS}/{upload['id']}/content")
    assert (refused.status_code, refused.json()["code"], refused.json()["reason"]) == (
        409,
        "not_checked_yet",
        "scanner_away",
    )
    assert (await carla.client.post(f"{DOCUMENTS}/{upload['id']}/link")).status_code == 409
    assert await carla.names(member_id=bob) == []

    clamd.mood = "ok"
    if mood == "away":
        await clamd.start(port)
    async with database.session(acme) as session:
        await session.execute(text("UPDATE uploads SET due_at = now()"))
    await work_once(CHECKS_DUE, check_due, app.state.edges, sweeper)
    assert await carla.names(member_id=bob) == ["bericht.pdf"]
    assert (await carla.get(f"{DOCUMENTS}/{upload['id']}/content")).content == PDF


async def test_what_the_scanner_finds_later_is_refused(
    as_: As, bob: uuid.UUID, clamd: StandIn, app: Litestar, sweeper: AsyncEngine, database: Database, acme: uuid.UUID
) -> None:
    clamd.mood = "rude"
    carla = as_("counsellor")
    upload = (await carla.upload(bob, EICAR)).json()
    clamd.mood = "ok"
    async with database.session(acme) as session:
        await session.execute(text("UPDATE uploads SET due_at = now()"))
    await work_once(CHECKS_DUE, check_due, app.state.edges, sweeper)
    found = (await carla.get(f"{UPLOADS}/{upload['id']}")).json()
    assert (found["state"], found["reason"]) == ("refused", "harm_found")
    assert await carla.names() == []


async def test_what_is_too_large_to_scan_is_refused(as_: As, bob: uuid.UUID, clamd: StandIn) -> None:
    clamd.longest = 1_000_000
    answer = await as_("counsellor").upload(bob, b"x" * 5_000_000)
    assert (answer.status_code, answer.json()["code"]) == (422, "too_large_to_scan")


async def test_forbidden_types_are_found_by_content(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    answer = await carla.upload(bob, b"MZ\x90\x00\x03", "rechnung.pdf")
    assert (answer.status_code, answer.json()["code"]) == (422, "type_forbidden")
    change = {"forbidden_types": ["image/"]}
    headers = {"If-Match": '"0"'}
    assert (await as_("admin").client.patch("/documents/v1/settings", json=change, headers=headers)).status_code == 200
    assert (await carla.upload(bob, b"MZ\x90\x00\x03", "programm.exe")).status_code == 201
    assert (await carla.upload(bob, b"\x89PNG\r\n\x1a\n", "bild.txt")).status_code == 422


async def test_an_archive_bomb_is_refused_on_both_ways(as_: As, bob: uuid.UUID) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(200_000_000))
    answer = await as_("counsellor").upload(bob, buffer.getvalue(), "urlaub.zip")
    assert (answer.status_code, answer.json()["code"]) == (422, "archive_bomb")


async def test_an_empty_file_is_refused(as_: As, bob: uuid.UUID) -> None:
    answer = await as_("counsellor").upload(bob, b"")
    assert (answer.status_code, answer.json()["code"]) == (422, "empty_file")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("seite.html", b"<html><script>alert(1)</script>"),
        ("bild.svg", b"<svg onload='alert(1)'/>"),
        ("polyglott.gif", b"GIF89a/*<script>alert(1)</script>*/"),
        ("x.pdf", b"%PDF-1.7 <script>alert(1)</script>"),
    ],
)
async def test_no_file_is_ever_shown_by_a_browser(as_: As, bob: uuid.UUID, name: str, body: bytes) -> None:
    carla = as_("counsellor")
    document = await carla.file(bob, body, name)
    answer = await carla.get(f"{DOCUMENTS}/{document['id']}/content")
    assert answer.content == body
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")


async def test_the_scanner_is_reached_by_a_socket_file_too(tmp_path: object) -> None:
    import asyncio
    import tempfile

    clamd = StandIn()
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/clamd.sock"
        server = await asyncio.start_unix_server(clamd._serve, path)
        scan = await Scanner(f"unix://{path}").scan()
        await scan.feed(EICAR)
        assert await scan.verdict() == "Win.Test.EICAR_HDB-1"
        server.close()
