"""Bytes going out: ranges, names, zips of what the caller may see at that moment."""

import hashlib
import io
import uuid
import zipfile
from typing import Any
from urllib.parse import unquote

import pytest
from litestar import Litestar
from sqlalchemy import text

from libs.common.db import Database
from libs.common.revocation import Revocations, session_ended
from services.documents.documents.search import Filter
from services.documents.downloads.rules import Interrupted
from services.documents.downloads.zips import MANIFEST, zip_documents
from services.documents.edges import Edges
from services.documents.store import PART_SIZE, Place
from tests.documents.conftest import DOCUMENTS, PDF, As, Known

BODY = bytes(range(250)) * 4


@pytest.mark.parametrize(
    ("asked", "status", "found", "said"),
    [
        ("bytes=0-9", 206, BODY[:10], "bytes 0-9/1000"),
        ("bytes=990-", 206, BODY[990:], "bytes 990-999/1000"),
        ("bytes=-10", 206, BODY[-10:], "bytes 990-999/1000"),
        ("bytes=-5000", 206, BODY, "bytes 0-999/1000"),
        ("bytes=900-5000", 206, BODY[900:], "bytes 900-999/1000"),
        ("bytes=1000-", 416, None, None),
        ("bytes=-0", 416, None, None),
        ("bytes=9-0", 200, BODY, None),
        ("bytes=0-1,5-6", 200, BODY, None),
        ("bytes=-", 200, BODY, None),
        ("items=0-1", 200, BODY, None),
        ("bytes=x-y", 200, BODY, None),
        ("bytes=99999999999999999999-", 200, BODY, None),
    ],
)
async def test_ranges(as_: As, bob: uuid.UUID, asked: str, status: int, found: bytes | None, said: str | None) -> None:
    """RFC 9110 section 14"""
    carla = as_("counsellor")
    document = await carla.file(bob, BODY)
    answer = await carla.get(f"{DOCUMENTS}/{document['id']}/content", headers={"Range": asked})
    assert answer.status_code == status
    assert answer.headers.get("content-range") == said
    if found is not None:
        assert answer.content == found
        assert answer.headers["content-length"] == str(len(found))


async def test_a_range_of_another_version_is_the_whole(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    document = await carla.file(bob, BODY)
    path = f"{DOCUMENTS}/{document['id']}/content"
    version = (await carla.client.head(path)).headers["etag"]
    assert version == f'"{document["sha256"]}"'
    for if_range, status in ((version, 206), ('"other"', 200)):
        headers = {"Range": "bytes=0-0", "If-Range": if_range}
        assert (await carla.get(path, headers=headers)).status_code == status


async def test_head_says_how_long_it_is_and_reads_nothing(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    document = await carla.file(bob, BODY)
    path = f"{DOCUMENTS}/{document['id']}"
    answer = await carla.client.head(f"{path}/content")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "1000", b"")
    facts = [entry["fact"] for entry in (await carla.get(f"{path}/history")).json()["items"]]
    assert "documents.document.downloaded" not in facts


async def test_the_name_travels_whole(as_: As, bob: uuid.UUID) -> None:
    """RFC 6266, RFC 8187"""
    carla = as_("counsellor")
    document = await carla.file(bob, name="Grüße; aus \u65e5\u672c.pdf")
    said = (await carla.get(f"{DOCUMENTS}/{document['id']}/content")).headers["content-disposition"]
    assert unquote(said.rpartition("''")[2]) == "Grüße; aus \u65e5\u672c.pdf"
    assert said.startswith('attachment; filename="Grue_ aus .pdf"; ')


async def _zip(caller: Any, **filters: Any) -> zipfile.ZipFile:
    answer = await caller.get(f"{DOCUMENTS}/zip", params=filters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    return zipfile.ZipFile(io.BytesIO(answer.content))


async def test_all_documents_of_a_list_come_as_one_zip(as_: As, bob: uuid.UUID, known: Known) -> None:
    """A-36: of what the caller may see; safe unique names; the digest of each."""
    carla, eva = as_("counsellor"), await known()
    bodies = [b"eins", b"zwei", bytes(range(256)) * (PART_SIZE // 128)]
    for body in bodies:
        await carla.file(bob, body, "bericht.bin")
    await carla.file(eva, b"about eva", "eva.txt")
    await as_("counsellor").file(bob, b"fremd", "fremd.txt")
    archive = await _zip(carla, member_id=bob)
    assert archive.testzip() is None
    assert archive.namelist() == ["bericht.bin", "bericht (2).bin", "bericht (3).bin", MANIFEST]
    assert [archive.read(name) for name in archive.namelist()[:3]] == bodies[::-1]
    lines = [line.split("  ", 1) for line in archive.read(MANIFEST).decode().splitlines()]
    assert {name: digest for digest, name in lines} == {
        name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()[:3]
    }
    assert (await _zip(carla)).namelist()[0] == "eva.txt"
    assert (await _zip(carla, text="eva")).namelist() == ["eva.txt", MANIFEST]
    assert (await _zip(as_("admin"), member_id=bob)).namelist() == [MANIFEST]


async def test_a_zip_has_64_bit_sizes_where_they_are_needed(
    as_: As, bob: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-36: as for a file above 2 GiB, with the limit at 1,000 bytes."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    carla = as_("counsellor")
    await carla.file(bob, BODY * 3, "gross.bin")
    await carla.file(bob, BODY[:500], "klein.bin")
    archive = await _zip(carla)
    assert archive.testzip() is None
    assert archive.read("gross.bin") == BODY * 3
    assert archive.getinfo("gross.bin").extract_version == 45
    assert archive.getinfo("klein.bin").extract_version == 20


async def test_a_zip_breaks_off_when_its_caller_is_shut_out(
    as_: As, bob: uuid.UUID, app: Litestar, edges: Edges
) -> None:
    """R-10, R-11: a revoked session gets no further file out of a download that has begun."""
    session_id = str(uuid.uuid4())
    carla = as_("counsellor", session_id=session_id)
    for _ in range(3):
        await carla.file(bob)
    actor = app.state.verifier.actor(carla.client.headers["authorization"].removeprefix("Bearer "))
    revocations: Revocations = app.state.revocations
    zipped = zip_documents(edges, actor, Filter(member_id=bob), may_go_on=lambda: not revocations.refuses(actor))
    await anext(zipped)
    notice = session_ended(session_id)
    revocations.apply(notice.subject, b"{}")
    with pytest.raises(Interrupted):
        async for _ in zipped:
            pass


async def test_a_zip_asks_again_what_may_be_seen(
    as_: As, bob: uuid.UUID, app: Litestar, edges: Edges, database: Database, acme: uuid.UUID
) -> None:
    """A-36: what is deleted while the zip is sent is not in it."""
    carla = as_("counsellor")
    await carla.file(bob, name="erste.pdf")
    async with database.session(acme) as session:  # a page's worth, so that a second page is asked for
        await session.execute(
            text(
                "INSERT INTO documents SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid(),"
                " 'object_id', gen_random_uuid(), 'created_at', created_at - n * interval '1 s', 'name', 'n' || n)))"
                ".* FROM documents d, generate_series(1, 150) n"
            )
        )
    for place in await _places(database, acme):
        await edges.store.put(place, PDF)
    actor = app.state.verifier.actor(carla.client.headers["authorization"].removeprefix("Bearer "))
    zipped = zip_documents(edges, actor, Filter(member_id=bob), may_go_on=lambda: True)
    content = await anext(zipped)
    async with database.session(acme) as session:
        await session.execute(text("UPDATE documents SET deleted_at = now()"))
    async for piece in zipped:
        content += piece
    assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) == 101


async def _places(database: Database, tenant: uuid.UUID) -> list[Place]:
    async with database.session(tenant) as session:
        rows = await session.execute(text("SELECT object_id FROM documents"))
        return [Place(tenant, row.object_id) for row in rows]


async def test_an_object_that_is_gone_is_said(
    as_: As, bob: uuid.UUID, edges: Edges, database: Database, acme: uuid.UUID
) -> None:
    carla = as_("counsellor")
    document = await carla.file(bob)
    [place] = await _places(database, acme)
    await edges.store.delete(place)
    answer = await carla.get(f"{DOCUMENTS}/{document['id']}/content")
    assert (answer.status_code, answer.json()["code"]) == (410, "content_lost")
    archive = await _zip(carla)
    assert archive.read(MANIFEST) == b"# missing: bericht.pdf\n"
    assert archive.namelist() == [MANIFEST]


async def test_a_zip_that_would_be_too_large_is_refused(
    as_: As, bob: uuid.UUID, database: Database, acme: uuid.UUID
) -> None:
    carla = as_("counsellor")
    await carla.file(bob)
    async with database.session(acme) as session:
        await session.execute(text("UPDATE documents SET size = 300 * 1024::bigint ^ 3"))
    answer = await carla.get(f"{DOCUMENTS}/zip")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_much_for_one_zip")
