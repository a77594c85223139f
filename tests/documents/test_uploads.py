"""How files come in: once, whole, as announced, within what the tenant allows; seen only when checked."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.changes import Outbox
from libs.common.db import Database
from libs.common.revocation import session_ended
from libs.common.sweeps import sweep_once
from services.documents.documents.tables import Document
from services.documents.edges import Edges
from services.documents.erasures.sweeps import DELETIONS_DUE, SWEEPS, delete_in_store
from services.documents.store import PART_SIZE
from services.documents.uploads.intake import check_due
from services.documents.uploads.tables import Upload
from services.documents.work import work_once
from services.documents.worker import CHECKS_DUE
from tests.documents.conftest import DOCUMENTS, PDF, UPLOADS, Allow, As, Caller, Known
from tests.ids import new_id

BIG = bytes(range(256)) * (PART_SIZE // 256) * 2 + b"the rest"


def _announced(about: uuid.UUID, body: bytes, **fields: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(body).hexdigest()
    return {"member_id": str(about), "name": "film.bin", "size": len(body), "sha256": sha256, **fields}


async def _announce(caller: Caller, about: uuid.UUID, body: bytes, **fields: Any) -> dict[str, Any]:
    answer = await caller.client.post(UPLOADS, json=_announced(about, body, **fields))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _send_parts(caller: Caller, upload: dict[str, Any], body: bytes, *numbers: int) -> None:
    """As a client does: asks for links, PUTs to the store."""
    size = upload["part_size"]
    parts = {number: body[(number - 1) * size : number * size] for number in numbers}
    asked = [{"number": number, "sha256": hashlib.sha256(part).hexdigest()} for number, part in parts.items()]
    answer = await caller.client.post(f"{UPLOADS}/{upload['id']}/parts", json={"parts": asked})
    assert answer.status_code == 200, answer.text
    async with httpx.AsyncClient() as direct:
        for signed in answer.json()["parts"]:
            sent = await direct.put(signed["url"], content=parts[signed["number"]], headers=signed["headers"])
            assert sent.status_code == 200, sent.text


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 100_000):
        yield body[at : at + 100_000]


async def _objects(edges: Edges, tenant: uuid.UUID) -> int:
    return len([found async for found in edges.store.objects(f"{tenant}/")])


async def _unfinished(edges: Edges, tenant: uuid.UUID) -> int:
    return len([found async for found in edges.store.unfinished(f"{tenant}/")])


async def _content(caller: Caller, document_id: str) -> bytes:
    return (await caller.get(f"{DOCUMENTS}/{document_id}/content")).content


@pytest.fixture
def work_off(edges: Edges, database: Database, sweeper: AsyncEngine, acme: uuid.UUID) -> Callable[[], Any]:
    """await work_off(): everything of acme that is due, as the worker would."""

    async def work() -> None:
        for sweep in SWEEPS:
            await sweep_once(sweep, database, sweeper)
        await work_once(CHECKS_DUE.where(Upload.tenant_id == acme), check_due, edges, sweeper)
        await work_once(DELETIONS_DUE, delete_in_store, edges, sweeper)

    return work


@pytest.mark.parametrize("size", [1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, len(BIG)])
async def test_a_file_comes_back_as_it_was_sent(as_: As, bob: uuid.UUID, size: int) -> None:
    """A-32"""
    carla, body = as_("counsellor"), BIG[:size]
    document = await carla.file(bob, body, "film.bin", description="Ein Film", tags=["eins", "zwei"], kind="record")
    assert (document["size"], document["sha256"]) == (size, hashlib.sha256(body).hexdigest())
    assert (document["description"], document["tags"], document["kind"]) == ("Ein Film", ["eins", "zwei"], "record")
    assert await _content(carla, document["id"]) == body


async def test_an_announced_file_is_sent_raw(as_: As, bob: uuid.UUID) -> None:
    """A-32: also the other way than a form; the same bytes again change nothing."""
    carla = as_("counsellor")
    upload = await _announce(carla, bob, BIG)
    assert await carla.names() == []
    for _ in range(2):
        sent = await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=_pieces(BIG))
        assert (sent.status_code, sent.json()["document"]["id"]) == (201, upload["id"])
    assert await _content(carla, upload["id"]) == BIG
    other = await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=b"other")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_parts_go_straight_to_the_store_and_can_be_taken_up_again(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID
) -> None:
    """A-32: signed for length and digest; seen only when all parts are there and checked."""
    carla = as_("counsellor")
    upload = await _announce(carla, bob, BIG)
    path = f"{UPLOADS}/{upload['id']}"
    early = await carla.client.post(f"{path}/complete")
    assert (early.status_code, early.json()["code"], early.json()["parts"]) == (409, "parts_missing", [1, 2, 3])
    await _send_parts(carla, upload, BIG, 3, 1)
    assert (await carla.get(path)).json()["received"] == [1, 3]
    missing = await carla.client.post(f"{path}/complete")
    assert (missing.status_code, missing.json()["parts"]) == (409, [2])
    assert await carla.names() == []
    await _send_parts(carla, upload, BIG, 2)
    for _ in range(2):  # the answer may be lost
        done = await carla.client.post(f"{path}/complete")
        assert (done.status_code, done.json()["state"]) == (201, "done")
    assert await _content(carla, upload["id"]) == BIG
    assert await _objects(edges, acme) == 1
    late = await carla.client.post(f"{path}/parts", json={"parts": [{"number": 1, "sha256": "0" * 64}]})
    assert (late.status_code, late.json()["code"]) == (409, "upload_not_open")


async def test_a_large_file_is_checked_by_the_worker(as_: As, bob: uuid.UUID, work_off: Callable[[], Any]) -> None:
    carla = as_("counsellor")
    body = BIG * 3  # above what `complete` waits for
    upload = await _announce(carla, bob, body)
    await _send_parts(carla, upload, body, *range(1, -(-len(body) // PART_SIZE) + 1))
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
    upload = await _announce(carla, bob, PDF)
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
    upload = await _announce(carla, bob, PDF)
    await _send_parts(carla, upload, PDF, 1)
    async with edges.database.session(acme) as session:
        await session.execute(text("UPDATE uploads SET sha256 = '\\x00'"))
    for _ in range(2):
        refused = await carla.client.post(f"{UPLOADS}/{upload['id']}/complete")
        assert (refused.status_code, refused.json()["code"]) == (422, "digest_differs")
    assert await carla.names() == []
    await work_off()
    assert await _objects(edges, acme) == 0


@pytest.mark.parametrize(
    ("announced", "sent", "code"), [(PDF, PDF[:-1], "size_differs"), (PDF, bytes(len(PDF)), "digest_differs")]
)
async def test_what_was_announced_must_come(as_: As, bob: uuid.UUID, announced: bytes, sent: bytes, code: str) -> None:
    carla = as_("counsellor")
    upload = await _announce(carla, bob, announced)
    path = f"{UPLOADS}/{upload['id']}"
    for _ in range(2):
        answer = await carla.client.put(f"{path}/content", content=sent)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await carla.names() == []
    assert (await carla.get(path)).json()["reason"] == code


async def test_more_than_was_announced_is_cut_off(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    upload = await _announce(carla, bob, PDF)
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
    upload = await _announce(carla, bob, BIG)
    path = f"{UPLOADS}/{upload['id']}/content"
    assert await _put_and_hang_up(app, carla, path, sent) == 400
    await work_off()
    assert (await _objects(edges, acme), await _unfinished(edges, acme)) == (0, 0)
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
    assert await _objects(edges, acme) == 2


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
    assert await _objects(edges, acme) == 1
    async with database.session(acme) as session:
        added = select(func.count()).where(Outbox.type == "documents.document.added.v1")
        assert await session.scalar(added) == 1


@pytest.mark.parametrize("cleared", [False, True])
async def test_a_later_try_takes_over_from_one_that_still_runs(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, work_off: Callable[[], Any], cleared: bool
) -> None:
    """Whether or not the worker has cleared away what the first one has sent so far."""
    carla = as_("counsellor")
    upload = await _announce(carla, bob, BIG)
    path = f"{UPLOADS}/{upload['id']}/content"
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield BIG[:PART_SIZE]
        await go_on.wait()
        yield BIG[PART_SIZE:]

    first = asyncio.create_task(carla.client.put(path, content=slow()))
    while not await _unfinished(edges, acme):  # noqa: ASYNC110 another server's state
        await asyncio.sleep(0.01)
    assert (await carla.client.put(path, content=BIG)).status_code == 201
    if cleared:
        await work_off()
    go_on.set()
    late = await first
    assert (late.status_code, late.json()["code"]) == (409, "upload_superseded")
    await work_off()
    assert (await _objects(edges, acme), await _unfinished(edges, acme)) == (1, 0)
    assert await _content(carla, upload["id"]) == BIG


async def test_abandoned_uploads_are_swept(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, database: Database, work_off: Callable[[], Any]
) -> None:
    carla = as_("counsellor")
    upload = await _announce(carla, bob, BIG)
    await _send_parts(carla, upload, BIG, 1)
    await carla.file(bob)
    await work_off()
    assert await _unfinished(edges, acme) == 1
    async with database.session(acme) as session:
        await session.execute(text("UPDATE uploads SET due_at = now() - interval '1 second'"))
    await work_off()
    assert (await carla.get(f"{UPLOADS}/{upload['id']}")).status_code == 404
    assert (await _objects(edges, acme), await _unfinished(edges, acme)) == (1, 0)
    assert await carla.names() == ["bericht.pdf"]


async def test_an_upload_can_be_given_up(
    as_: As, bob: uuid.UUID, edges: Edges, acme: uuid.UUID, work_off: Callable[[], Any]
) -> None:
    carla = as_("counsellor")
    upload = await _announce(carla, bob, BIG)
    await _send_parts(carla, upload, BIG, 1)
    assert [one["id"] for one in (await carla.get(UPLOADS)).json()["items"]] == [upload["id"]]
    assert (await carla.client.delete(f"{UPLOADS}/{upload['id']}")).status_code == 204
    await work_off()
    assert await _unfinished(edges, acme) == 0
    assert (await carla.get(UPLOADS)).json()["items"] == []


async def test_uploads_are_nobody_elses(as_: As, bob: uuid.UUID, globex: uuid.UUID) -> None:
    """A-34, R-07: an upload is its uploader's alone, on every route."""
    carla = as_("counsellor")
    upload = await _announce(carla, bob, PDF)
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
    announced = await carla.client.post(UPLOADS, json=_announced(bob, bytes(2001)))
    assert (announced.status_code, announced.json()["code"]) == (413, "file_too_large")

    await allow(max_file_bytes=10_000, uploader_quota_bytes=3000)
    await carla.file(bob, b"x" * 2000)
    announced = await carla.client.post(UPLOADS, json=_announced(bob, b"y" * 900))
    assert announced.status_code == 201
    full = await carla.client.post(UPLOADS, json=_announced(bob, b"y" * 101))
    assert (full.status_code, full.json()["code"], full.json()["used"]) == (409, "uploader_quota_exceeded", 2900)
    assert (await carla.upload(bob, b"z" * 101)).json()["code"] in ("uploader_quota_exceeded", "file_too_large")
    used = (await carla.get("/documents/v1/usage")).json()
    assert used == {"mine": 2900, "my_quota": 3000, "tenant": 2900, "tenant_quota": 100 * 1024**3}
    await carla.client.delete(f"{UPLOADS}/{announced.json()['id']}")
    assert (await carla.upload(bob, b"z" * 101)).status_code == 201

    await allow(tenant_quota_bytes=2500)
    full = await as_("counsellor").client.post(UPLOADS, json=_announced(bob, b"y" * 400))
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
        await _announce(carla, bob, PDF)
    answer = await carla.client.post(UPLOADS, json=_announced(bob, PDF))
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
    made = [(await _announce(carla, bob, PDF))["id"] for _ in range(3)]
    first = (await carla.get(UPLOADS, params={"limit": 2})).json()
    rest = (await carla.get(UPLOADS, params={"limit": 2, "cursor": first["next"]})).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None


async def test_who_is_shut_out_while_uploading_files_nothing(as_: As, bob: uuid.UUID, app: Litestar) -> None:
    """R-10, R-11"""
    session_id = str(uuid.uuid4())
    carla = as_("counsellor", session_id=session_id)
    upload = await _announce(carla, bob, BIG)

    async def shut_out() -> AsyncIterator[bytes]:
        yield BIG[:PART_SIZE]
        app.state.revocations.apply(session_ended(session_id).subject, b"{}")
        yield BIG[PART_SIZE:]

    answer = await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=shut_out())
    assert answer.status_code == 401
    assert await as_("counsellor", id=carla.id).names() == []


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
        answer = await carla.client.post(UPLOADS, json=_announced(bob, PDF), headers={"Idempotency-Key": "k"})
        ids.add(answer.json()["id"])
    assert len(ids) == 1
