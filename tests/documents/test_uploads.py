"""A file about a member is filed: by whom, about whom, how large, and by a form or raw."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import func, select, text

from libs.common.db import Database
from libs.common.revocation import session_ended
from services.documents.documents.tables import Document
from services.documents.store import PART_SIZE
from tests.documents.conftest import DOCUMENTS, PDF, UPLOADS, Allow, As, Known
from tests.documents.uploads import BIG, announce, announcement, content
from tests.ids import new_id


@pytest.mark.parametrize("size", [1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, len(BIG)])
async def test_a_file_comes_back_as_it_was_sent(as_: As, bob: uuid.UUID, size: int) -> None:
    """A-32"""
    carla, body = as_("counsellor"), BIG[:size]
    document = await carla.file(bob, body, "film.bin", description="Ein Film", tags=["eins", "zwei"], kind="record")
    assert (document["size"], document["sha256"]) == (size, hashlib.sha256(body).hexdigest())
    assert (document["description"], document["tags"], document["kind"]) == ("Ein Film", ["eins", "zwei"], "record")
    assert await content(carla, document["id"]) == body


async def test_uploads_are_nobody_elses(as_: As, bob: uuid.UUID, globex: uuid.UUID) -> None:
    """A-34, R-07: an upload is its uploader's alone, on every route."""
    carla = as_("counsellor")
    upload = await announce(carla, bob, PDF)
    path = f"{UPLOADS}/{upload['id']}"
    strangers = [
        as_("admin"),
        as_("counsellor"),
        as_("counsellor", id=carla.id, holder=2),
        as_("counsellor", id=carla.id, tenant=globex),
    ]
    for stranger in strangers:
        part = {"parts": [{"number": 1, "sha256": "0" * 64}]}
        answers = {
            (await stranger.get(path)).status_code,
            (await stranger.client.put(f"{path}/content", content=PDF)).status_code,
            (await stranger.client.post(f"{path}/parts", json=part)).status_code,
            (await stranger.client.post(f"{path}/complete")).status_code,
            (await stranger.client.delete(path)).status_code,
        }
        assert answers == {404}
        assert (await stranger.get(UPLOADS)).json()["items"] == []


async def test_limits_and_quotas_hold_on_every_way(as_: As, bob: uuid.UUID, allow: Allow) -> None:
    await allow(max_file_bytes=2000)
    carla = as_("counsellor")
    too_large = await carla.upload(bob, bytes(2001))
    assert (too_large.status_code, too_large.json()["code"], too_large.json()["most"]) == (413, "file_too_large", 2000)
    announced = await carla.client.post(UPLOADS, json=announcement(bob, bytes(2001)))
    assert (announced.status_code, announced.json()["code"]) == (413, "file_too_large")

    await allow(max_file_bytes=10_000, uploader_quota_bytes=3000)
    await carla.file(bob, b"x" * 2000)
    announced = await carla.client.post(UPLOADS, json=announcement(bob, b"y" * 900))
    assert announced.status_code == 201
    full = await carla.client.post(UPLOADS, json=announcement(bob, b"y" * 101))
    assert (full.status_code, full.json()["code"], full.json()["used"]) == (409, "uploader_quota_exceeded", 2900)
    assert (await carla.upload(bob, b"z" * 101)).json()["code"] in ("uploader_quota_exceeded", "file_too_large")
    used = (await carla.get("/documents/v1/usage")).json()
    assert used == {"mine": 2900, "my_quota": 3000, "tenant": 2900, "tenant_quota": 100 * 1024**3}
    await carla.client.delete(f"{UPLOADS}/{announced.json()['id']}")
    assert (await carla.upload(bob, b"z" * 101)).status_code == 201

    await allow(tenant_quota_bytes=2500)
    full = await as_("counsellor").client.post(UPLOADS, json=announcement(bob, b"y" * 400))
    assert (full.status_code, full.json()["code"]) == (409, "tenant_quota_exceeded")


async def test_two_uploads_cannot_both_take_the_last_room(
    as_: As, bob: uuid.UUID, allow: Allow, database: Database, acme: uuid.UUID
) -> None:
    await allow(tenant_quota_bytes=1500)
    for round in range(5):
        callers = [as_("counsellor") for _ in range(4)]
        answers = await asyncio.gather(*(caller.upload(bob, b"x" * 1000) for caller in callers))
        assert sorted(answer.status_code for answer in answers).count(201) == 1, round
        async with database.session(acme) as session:
            assert await session.scalar(select(func.sum(Document.size))) == 1000
            await session.execute(text("DELETE FROM documents"))


async def test_unfinished_uploads_are_limited(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    for _ in range(50):
        await announce(carla, bob, PDF)
    answer = await carla.client.post(UPLOADS, json=announcement(bob, PDF))
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_uploads")


@pytest.mark.parametrize(
    ("life", "status", "code"),
    [
        ("marked_deleted", 409, "member_marked_deleted"),
        ("anonymised", 410, "member_gone"),
        ("erased", 410, "member_gone"),
    ],
)
async def test_nothing_is_filed_about_who_leaves(as_: As, known: Known, life: str, status: int, code: str) -> None:
    answer = await as_("counsellor").upload(await known(life=life))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_member_who_is_not_known_yet_is_waited_for(as_: As, known: Known) -> None:
    """R-07: the same answer for a new member and for another tenant's."""
    new, carla = new_id(), as_("counsellor")
    upload = asyncio.create_task(carla.upload(new))
    await asyncio.sleep(0.3)
    await known(new)
    assert (await upload).status_code == 201
    of_globex = await known(new_id(), tenant=uuid.uuid4())
    answer = await carla.upload(of_globex)
    assert (answer.status_code, answer.json()["code"]) == (409, "member_not_known_yet")
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("role", "status"), [("member", 403), ("supervisor", 403), ("counsellor", 201), ("admin", 201)]
)
async def test_who_may_upload(as_: As, bob: uuid.UUID, role: str, status: int) -> None:
    """A-32"""
    assert (await as_(role).upload(bob)).status_code == status


async def test_members_file_about_themselves_what_the_tenant_lets_them(as_: As, bob: uuid.UUID, allow: Allow) -> None:
    """C-86: attachment rights depend on the role; a certificate may have a validity."""
    dora = as_("member", id=bob)
    assert (await dora.upload(bob)).status_code == 403
    await allow(own_types=["image/"])
    refused = await dora.upload(bob)
    assert (refused.status_code, refused.json()["code"]) == (422, "type_forbidden")
    png = b"\x89PNG\r\n\x1a\n..."
    document = await dora.file(bob, png, "urkunde.png", kind="certificate", valid_until="2027-12-31")
    assert (document["kind"], document["valid_until"]) == ("certificate", "2027-12-31")
    assert await dora.names() == ["urkunde.png"]
    assert (await as_("member").upload(bob, png)).status_code == 403
    assert (await as_("counsellor").upload(bob)).status_code == 201


@pytest.mark.parametrize(
    ("data", "files", "field"),
    [
        ({}, {"file": ("a", b"x")}, "member_id"),
        ({"member_id": "nonsense"}, {"file": ("a", b"x")}, "member_id"),
        ({"member_id": str(uuid.uuid4()), "visibilty": "staff"}, {"file": ("a", b"x")}, "visibilty"),
        ({"member_id": str(uuid.uuid4()), "name": "a\x00b"}, {"file": ("a", b"x")}, "name"),
        ({"member_id": str(uuid.uuid4()), "valid_until": "bald"}, {"file": ("a", b"x")}, "valid_until"),
        ({"member_id": str(uuid.uuid4())}, {"datei": ("a", b"x")}, "file"),
        ({"member_id": "x" * 20_000}, {"file": ("a", b"x")}, "member_id"),
    ],
)
async def test_a_form_that_is_wrong_names_the_field(as_: As, data: dict[str, str], files: Any, field: str) -> None:
    answer = await as_("counsellor").client.post(DOCUMENTS, data=data, files=files)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "malformed", field)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"", {}, 415),
        (b"x", {"Content-Type": "multipart/form-data"}, 400),
        (b"x", {"Content-Type": "multipart/form-data; boundary=a"}, 400),
        (b"--a\r\n\r\n", {"Content-Type": "multipart/form-data; boundary=a"}, 400),
        (
            b"--a\r\nContent-Disposition: form-data; name=x\r\n\r\n\xff\r\n--a--",
            {"Content-Type": "multipart/form-data; boundary=a"},
            400,
        ),
    ],
)
async def test_a_body_that_is_no_form_is_malformed(
    as_: As, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await as_("counsellor").client.post(DOCUMENTS, content=content, headers=headers)
    assert answer.status_code == status, answer.text


async def test_unfinished_uploads_are_listed_in_pages(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    made = [(await announce(carla, bob, PDF))["id"] for _ in range(3)]
    first = (await carla.get(UPLOADS, params={"limit": 2})).json()
    rest = (await carla.get(UPLOADS, params={"limit": 2, "cursor": first["next"]})).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None


async def test_who_is_shut_out_while_uploading_files_nothing(as_: As, bob: uuid.UUID, app: Litestar) -> None:
    """R-10, R-11"""
    session_id = str(uuid.uuid4())
    carla = as_("counsellor", session_id=session_id)
    upload = await announce(carla, bob, BIG)

    async def shut_out() -> AsyncIterator[bytes]:
        yield BIG[:PART_SIZE]
        app.state.revocations.apply(session_ended(session_id).subject, b"{}")
        yield BIG[PART_SIZE:]

    answer = await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=shut_out())
    assert answer.status_code == 401
    assert await as_("counsellor", id=carla.id).names() == []
