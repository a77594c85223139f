"""A large file goes straight to the store, in parts that are signed, and is checked there."""

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import httpx
from sqlalchemy import text

from services.documents.edges import Edges
from services.documents.store import PART_SIZE
from tests.documents.conftest import DOCUMENTS, PDF, UPLOADS, As
from tests.documents.uploads import BIG, announce, content, objects, pieces, send_parts


async def test_an_announced_file_is_sent_raw(as_: As, bob: uuid.UUID) -> None:
    """A-32: also the other way than a form; the same bytes again change nothing."""
    carla = as_("counsellor")
    upload = await announce(carla, bob, BIG)
    assert await carla.names() == []
    for _ in range(2):
        sent = await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=pieces(BIG))
        assert (sent.status_code, sent.json()["document"]["id"]) == (201, upload["id"])
    assert await content(carla, upload["id"]) == BIG
    other = await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=b"other")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_parts_go_straight_to_the_store_and_can_be_taken_up_again(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID
) -> None:
    """A-32: signed for length and digest; seen only when all parts are there and checked."""
    carla = as_("counsellor")
    upload = await announce(carla, bob, BIG)
    path = f"{UPLOADS}/{upload['id']}"
    early = await carla.client.post(f"{path}/complete")
    assert (early.status_code, early.json()["code"], early.json()["parts"]) == (409, "parts_missing", [1, 2, 3])
    await send_parts(carla, upload, BIG, 3, 1)
    assert (await carla.get(path)).json()["received"] == [1, 3]
    missing = await carla.client.post(f"{path}/complete")
    assert (missing.status_code, missing.json()["parts"]) == (409, [2])
    assert await carla.names() == []
    await send_parts(carla, upload, BIG, 2)
    for _ in range(2):  # the answer may be lost
        done = await carla.client.post(f"{path}/complete")
        assert (done.status_code, done.json()["state"]) == (201, "done")
    assert await content(carla, upload["id"]) == BIG
    assert await objects(edges, acme) == 1
    late = await carla.client.post(f"{path}/parts", json={"parts": [{"number": 1, "sha256": "0" * 64}]})
    assert (late.status_code, late.json()["code"]) == (409, "upload_not_open")


async def test_a_large_file_is_checked_by_the_worker(as_: As, bob: uuid.UUID, work_off: Callable[[], Any]) -> None:
    carla = as_("counsellor")
    body = BIG * 3  # above what `complete` waits for
    upload = await announce(carla, bob, body)
    await send_parts(carla, upload, body, *range(1, -(-len(body) // PART_SIZE) + 1))
    waiting = await carla.client.post(f"{UPLOADS}/{upload['id']}/complete")
    assert (waiting.status_code, waiting.json()["state"]) == (202, "checking")
    refused = await carla.get(f"{DOCUMENTS}/{upload['id']}/content")
    assert (refused.status_code, refused.json()["code"], refused.json()["reason"]) == (
        409,
        "not_checked_yet",
        "checking",
    )
    assert (await as_("counsellor").get(f"{DOCUMENTS}/{upload['id']}/content")).status_code == 404
    await work_off()
    assert (await carla.get(f"{UPLOADS}/{upload['id']}")).json()["state"] == "done"
    assert await carla.names() == ["film.bin"]


async def test_a_part_of_another_length_is_refused_by_its_signature(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    upload = await announce(carla, bob, PDF)
    part = {"number": 1, "sha256": hashlib.sha256(PDF).hexdigest()}
    answer = await carla.client.post(f"{UPLOADS}/{upload['id']}/parts", json={"parts": [part]})
    [signed] = answer.json()["parts"]
    assert (signed["size"], signed["headers"]["Content-Length"]) == (len(PDF), str(len(PDF)))
    async with httpx.AsyncClient() as direct:
        headers = {"x-amz-checksum-sha256": signed["headers"]["x-amz-checksum-sha256"]}
        assert (await direct.put(signed["url"], content=PDF + b"more", headers=headers)).status_code == 403
    wrong = await carla.client.post(f"{UPLOADS}/{upload['id']}/parts", json={"parts": [{**part, "number": 2}]})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "parts")


async def test_a_lying_part_is_found_by_its_digest(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, work_off: Callable[[], Any]
) -> None:
    """Stores that do not check what was signed exist: the whole is read before it becomes a document."""
    carla = as_("counsellor")
    upload = await announce(carla, bob, PDF)
    await send_parts(carla, upload, PDF, 1)
    async with edges.database.session(acme) as session:
        await session.execute(text("UPDATE uploads SET sha256 = '\\x00'"))
    for _ in range(2):
        refused = await carla.client.post(f"{UPLOADS}/{upload['id']}/complete")
        assert (refused.status_code, refused.json()["code"]) == (422, "digest_differs")
    assert await carla.names() == []
    await work_off()
    assert await objects(edges, acme) == 0
