"""Uploads that break off, lie, come twice or are given up: one document or none, and nothing left behind."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import func, select, text

from libs.common.changes import Outbox
from libs.common.db import Database
from services.documents.edges import Edges
from services.documents.store import PART_SIZE
from services.documents.uploads.tables import Upload
from tests.documents.conftest import DOCUMENTS, PDF, UPLOADS, As, Caller
from tests.documents.uploads import BIG, announce, announcement, content, objects, send_parts, unfinished


@pytest.mark.parametrize(
    ("announced", "sent", "code"), [(PDF, PDF[:-1], "size_differs"), (PDF, bytes(len(PDF)), "digest_differs")]
)
async def test_what_was_announced_must_come(as_: As, bob: uuid.UUID, announced: bytes, sent: bytes, code: str) -> None:
    carla = as_("counsellor")
    upload = await announce(carla, bob, announced)
    path = f"{UPLOADS}/{upload['id']}"
    for _ in range(2):
        answer = await carla.client.put(f"{path}/content", content=sent)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await carla.names() == []
    assert (await carla.get(path)).json()["reason"] == code


async def test_more_than_was_announced_is_cut_off(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    upload = await announce(carla, bob, PDF)
    answer = await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=PDF + b"more")
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert (await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=PDF)).status_code == 201


async def _put_and_hang_up(app: Litestar, caller: Caller, path: str, sent: bytes) -> int:
    """The status of an answer that nobody reads: the client is gone after these bytes."""
    messages: list[Any] = [
        {"type": "http.request", "body": sent, "more_body": True},
        {"type": "http.disconnect"},
    ]
    statuses: list[int] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"authorization", caller.client.headers["authorization"].encode())]
    scope = {"type": "http", "method": "PUT", "path": path, "raw_path": path.encode(), "query_string": b""}
    await app({**scope, "headers": headers, "root_path": "", "scheme": "http"}, receive, send)  # type: ignore[arg-type]
    return statuses[0]


@pytest.mark.parametrize("sent", [b"%PDF", BIG])
async def test_an_upload_that_breaks_off_leaves_nothing_and_can_be_repeated(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, work_off: Callable[[], Any], app: Litestar, sent: bytes
) -> None:
    carla = as_("counsellor")
    upload = await announce(carla, bob, BIG)
    path = f"{UPLOADS}/{upload['id']}/content"
    assert await _put_and_hang_up(app, carla, path, sent) == 400
    await work_off()
    assert (await objects(edges, acme), await unfinished(edges, acme)) == (0, 0)
    assert await carla.names() == []
    assert (await carla.client.put(path, content=BIG)).status_code == 201


async def test_a_form_that_ends_in_the_middle_is_no_document(
    as_: As, bob: uuid.UUID, database: Database, acme: uuid.UUID
) -> None:
    carla = as_("counsellor")
    request = carla.client.build_request("POST", DOCUMENTS, data={"member_id": str(bob)}, files={"file": ("a", PDF)})
    body = request.read()[:-30]
    headers = {"Content-Type": request.headers["content-type"]}
    answer = await carla.client.post(DOCUMENTS, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "upload_interrupted")
    async with database.session(acme) as session:
        assert await session.scalar(select(func.count()).select_from(Upload)) == 0


async def test_a_repeated_upload_is_one_document(as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID) -> None:
    """The key of the first request brings back its document; other bytes or another name under it are refused."""
    carla = as_("counsellor")
    first = await carla.file(bob, key="k1")
    assert (await carla.file(bob, key="k1"))["id"] == first["id"]
    for other in ({"body": b"other"}, {"name": "anders.pdf"}, {"kind": "record"}, {"tags": ["neu"]}):
        answer = await carla.upload(bob, key="k1", **other)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert (await as_("counsellor").file(bob, key="k1"))["id"] != first["id"]
    assert await carla.names() == ["bericht.pdf"]
    assert await objects(edges, acme) == 2


async def test_doubled_uploads_that_run_at_once_are_one_document(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, work_off: Callable[[], Any], database: Database
) -> None:
    carla = as_("counsellor")
    answers = await asyncio.gather(*(carla.upload(bob, key="k1") for _ in range(5)))
    codes = {answer.status_code for answer in answers}
    assert 201 in codes
    assert codes <= {201, 409}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"upload_superseded"}
    assert await carla.names() == ["bericht.pdf"]
    await work_off()
    assert await objects(edges, acme) == 1
    async with database.session(acme) as session:
        added = select(func.count()).where(Outbox.type == "documents.document.added.v1")
        assert await session.scalar(added) == 1


@pytest.mark.parametrize("cleared", [False, True])
async def test_a_later_try_takes_over_from_one_that_still_runs(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, work_off: Callable[[], Any], cleared: bool
) -> None:
    """Whether or not the worker has cleared away what the first one has sent so far."""
    carla = as_("counsellor")
    upload = await announce(carla, bob, BIG)
    path = f"{UPLOADS}/{upload['id']}/content"
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield BIG[:PART_SIZE]
        await go_on.wait()
        yield BIG[PART_SIZE:]

    first = asyncio.create_task(carla.client.put(path, content=slow()))
    while not await unfinished(edges, acme):  # noqa: ASYNC110 another server's state
        await asyncio.sleep(0.01)
    assert (await carla.client.put(path, content=BIG)).status_code == 201
    if cleared:
        await work_off()
    go_on.set()
    late = await first
    assert (late.status_code, late.json()["code"]) == (409, "upload_superseded")
    await work_off()
    assert (await objects(edges, acme), await unfinished(edges, acme)) == (1, 0)
    assert await content(carla, upload["id"]) == BIG


async def test_abandoned_uploads_are_swept(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, database: Database, work_off: Callable[[], Any]
) -> None:
    carla = as_("counsellor")
    upload = await announce(carla, bob, BIG)
    await send_parts(carla, upload, BIG, 1)
    await carla.file(bob)
    await work_off()
    assert await unfinished(edges, acme) == 1
    async with database.session(acme) as session:
        await session.execute(text("UPDATE uploads SET due_at = now() - interval '1 second'"))
    await work_off()
    assert (await carla.get(f"{UPLOADS}/{upload['id']}")).status_code == 404
    assert (await objects(edges, acme), await unfinished(edges, acme)) == (1, 0)
    assert await carla.names() == ["bericht.pdf"]


async def test_an_upload_can_be_given_up(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, work_off: Callable[[], Any]
) -> None:
    carla = as_("counsellor")
    upload = await announce(carla, bob, BIG)
    await send_parts(carla, upload, BIG, 1)
    assert [one["id"] for one in (await carla.get(UPLOADS)).json()["items"]] == [upload["id"]]
    assert (await carla.client.delete(f"{UPLOADS}/{upload['id']}")).status_code == 204
    await work_off()
    assert await unfinished(edges, acme) == 0
    assert (await carla.get(UPLOADS)).json()["items"] == []


async def test_a_repeated_upload_whose_document_was_deleted_brings_nothing_back(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    document = await carla.file(bob, key="k")
    path = f"{DOCUMENTS}/{document['id']}"
    await carla.client.delete(path, headers={"If-Match": '"1"'})
    await carla.client.post(f"{path}/erase")
    answer = await carla.upload(bob, key="k")
    assert (answer.status_code, answer.json()["state"], answer.json()["document"]) == (201, "done", None)
    assert await carla.names() == []


async def test_a_key_of_an_upload_is_an_announced_one_too(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    ids = set()
    for _ in range(2):
        answer = await carla.client.post(UPLOADS, json=announcement(bob, PDF), headers={"Idempotency-Key": "k"})
        ids.add(answer.json()["id"])
    assert len(ids) == 1
