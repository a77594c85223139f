"""What every application does, whatever its service: shown on a tiny one that keeps notes in the audit table."""

import asyncio
import os
import uuid
from typing import Any

import asyncpg
import msgspec
import pytest
from httpx import AsyncClient
from litestar import Litestar, Response, Router, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody
from sqlalchemy import func, select, text

from libs.common.app import CurrentActor, OnceOnly, Session, build_app, problems
from libs.common.auth import PUBLIC
from libs.common.changes import Audit, note
from libs.common.db import Database
from libs.common.errors import Conflict, NotFound
from libs.common.etags import IfMatch, etag, version_read
from libs.common.pages import decode_cursor, encode_cursor
from libs.common.permissions import Permission
from libs.common.text import Line
from tests.conftest import ClientOf, CoreOf, DatabaseOf, TokenFor

NOTES = "/members/v1/notes"


class NoteIn(msgspec.Struct, forbid_unknown_fields=True):
    text: Line


class SecretIn(msgspec.Struct, forbid_unknown_fields=True):
    session: Line  # the name of a dependency


class NoteOut(msgspec.Struct):
    text: str
    number: int


class TextRefused(Conflict):
    title = "This text is not taken"


class WrongCode(Conflict):
    title = "The code is wrong"
    keep = True


class _Row(msgspec.Struct):
    tenant_id: Any
    id: uuid.UUID


async def _count(session: Any) -> int:
    return int(await session.scalar(select(func.count()).select_from(Audit)))


@post("/", permission=Permission.MEMBERS_WRITE, responses=problems(TextRefused))
async def add_note(session: Session, actor: CurrentActor, once: OnceOnly, data: JSONBody[NoteIn]) -> Response[NoteOut]:
    note(session, actor, _Row(actor.tenant_id, uuid.uuid4()), "noted", text=data.text)
    await session.flush()
    if data.text == "refused":
        raise TextRefused(text=data.text)
    if data.text == "wrong code":
        raise WrongCode
    return await once.answer(NoteOut(data.text, await _count(session)), 201, secret=data.text == "secret")


@get("/", permission=Permission.MEMBERS_READ)
async def count_notes(session: Session) -> int:
    return await _count(session)


@get("/{number:int}", permission=Permission.MEMBERS_READ, responses=problems(NotFound))
async def read_note(number: FromPath[int], cursor: FromQuery[str | None] = None) -> Response[NoteOut]:
    if cursor:
        decode_cursor("notes", cursor, int)
    if number > 100:
        raise NotFound
    return Response(NoteOut("read", number), headers=etag(number))


@put("/{number:int}", permission=Permission.MEMBERS_WRITE)
async def edit_note(number: FromPath[int], data: JSONBody[NoteIn], if_match: IfMatch = None) -> NoteOut:
    return NoteOut(data.text, version_read(if_match))


@post("/secrets", permission=Permission.MEMBERS_WRITE)
async def take_secret(session: Session, data: JSONBody[SecretIn]) -> None: ...


@get("/broken", permission=PUBLIC)
async def break_down() -> None:
    raise ZeroDivisionError("the secret reason")


@pytest.fixture
async def app(core_of: CoreOf) -> Litestar:
    router = Router(NOTES, route_handlers=[add_note, count_notes, read_note, edit_note, take_secret, break_down])
    return build_app(await core_of("members"), [router])


@pytest.fixture
def admin(app: Litestar, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID) -> AsyncClient:
    return client_of(app, token_for("admin", acme))


@pytest.fixture
async def database(database_of: DatabaseOf) -> Database:
    return await database_of("members")


async def _notes(client: AsyncClient) -> int:
    return int((await client.get(NOTES)).json())


@pytest.mark.parametrize(("who", "status"), [(None, 401), ("member", 403), ("admin", 200), ("operator", 401)])
async def test_a_handler_lets_in_whom_its_permission_names(
    app: Litestar, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID, who: str | None, status: int
) -> None:
    token = token_for(who, None if who == "operator" else acme) if who else None
    answer = await client_of(app, token).get(NOTES)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_no_application_starts_with_a_handler_that_states_no_permission(core_of: CoreOf) -> None:
    @get("/open")
    async def forgotten() -> None: ...

    with pytest.raises(TypeError, match="states no permission"):
        build_app(await core_of("members"), [Router("/x", route_handlers=[forgotten])])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("GET", f"{NOTES}/500", None, 404, "not_found"),
        ("GET", f"{NOTES}/x", None, 404, "not_found"),
        ("DELETE", NOTES, None, 405, "method_not_allowed"),
        ("POST", NOTES, b"{", 400, "malformed"),
        ("POST", NOTES, b'{"txet": "a"}', 400, "malformed"),
        ("POST", NOTES, b'{"text": 1}', 400, "malformed"),
        ("POST", NOTES, b'{"text": "a\\u0000b"}', 400, "malformed"),
        ("POST", NOTES, b'{"text": "\xff"}', 400, "malformed"),
        ("POST", NOTES, b'{"text": "refused"}', 409, "text_refused"),
        ("GET", f"{NOTES}/1?cursor=nonsense", None, 400, "malformed"),
        ("GET", f"{NOTES}/1?cursor={encode_cursor('others', '1')}", None, 400, "malformed"),
        ("GET", f"{NOTES}/1?cursor=a%00b", None, 400, "malformed"),
        ("PUT", f"{NOTES}/1", b'{"text": "a"}', 428, "version_required"),
        ("GET", f"{NOTES}/broken", None, 500, "internal"),
    ],
)
async def test_every_error_is_a_problem_with_a_code_and_a_trace(
    admin: AsyncClient, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    answer = await admin.request(method, path, content=body, headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert len(problem["trace_id"]) == 32
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_a_misspelt_field_is_named(admin: AsyncClient) -> None:
    answer = (await admin.post(NOTES, json={"txet": "a"})).json()
    assert answer["field"] == "text" or "txet" in str(answer)
    answer = (await admin.post(NOTES, json={"text": 1})).json()
    assert answer["field"] == "text"
    answer = (await admin.post(f"{NOTES}/secrets", json={"session": ""})).json()
    assert (answer["status"], answer["field"]) == (400, "session")


async def test_a_trace_that_the_caller_began_is_quoted_in_the_problem(admin: AsyncClient) -> None:
    trace = uuid.uuid4().hex
    answer = await admin.get("/nowhere", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.json()["trace_id"] == trace


async def test_a_refusal_takes_back_what_was_written_unless_its_class_keeps_it(admin: AsyncClient) -> None:
    await admin.post(NOTES, json={"text": "refused"})
    assert await _notes(admin) == 0
    await admin.post(NOTES, json={"text": "wrong code"})
    assert await _notes(admin) == 1


async def test_a_repeated_key_gets_the_first_answer_and_has_one_effect(admin: AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(admin.post(NOTES, json={"text": "a"}, headers=key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.text for answer in answers} == {'{"text":"a","number":1}'}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 7
    assert await _notes(admin) == 1


async def test_a_key_is_its_callers_own(
    admin: AsyncClient, app: Litestar, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID, globex: uuid.UUID
) -> None:
    key = {"Idempotency-Key": "k1"}
    await admin.post(NOTES, json={"text": "a"}, headers=key)
    colleague, stranger = client_of(app, token_for("admin", acme)), client_of(app, token_for("admin", globex))
    assert (await colleague.post(NOTES, json={"text": "b"}, headers=key)).json()["text"] == "b"
    assert (await stranger.post(NOTES, json={"text": "c"}, headers=key)).json() == {"text": "c", "number": 1}


async def test_a_key_goes_with_its_holder(
    app: Litestar, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID
) -> None:
    """Who holds the membership next is not told what the former was answered (design section 4)."""
    key, id = {"Idempotency-Key": "k1"}, uuid.uuid4()
    former, later = (client_of(app, token_for("admin", acme, id=id, holder=holder)) for holder in (1, 2))
    assert (await former.post(NOTES, json={"text": "a"}, headers=key)).status_code == 201
    assert (await later.post(NOTES, json={"text": "a"}, headers=key)).json()["code"] == "idempotency_key_reused"


async def test_a_key_with_another_request_is_refused(admin: AsyncClient) -> None:
    await admin.post(NOTES, json={"text": "a"}, headers={"Idempotency-Key": "k1"})
    answer = await admin.post(NOTES, json={"text": "b"}, headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_an_answer_with_a_secret_is_not_kept(admin: AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    assert (await admin.post(NOTES, json={"text": "secret"}, headers=key)).status_code == 201
    again = await admin.post(NOTES, json={"text": "secret"}, headers=key)
    assert (again.status_code, again.json()["code"]) == (409, "already_done")
    assert await _notes(admin) == 1


async def test_a_refused_request_may_be_tried_again_under_its_key(admin: AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    assert (await admin.post(NOTES, json={"text": "refused"}, headers=key)).status_code == 409
    assert (await admin.post(NOTES, json={"text": "refused"}, headers=key)).status_code == 409


@pytest.mark.parametrize(("if_match", "status"), [(None, 428), ("*", 400), ("1", 400), ('"7"', 200)])
async def test_who_edits_says_which_version_was_read(admin: AsyncClient, if_match: str | None, status: int) -> None:
    headers = {"If-Match": if_match} if if_match else {}
    assert (await admin.put(f"{NOTES}/1", json={"text": "a"}, headers=headers)).status_code == status


async def test_a_connection_that_died_in_the_pool_costs_nobody_an_answer(urls_of: Any) -> None:
    database = Database((await urls_of("members")).app, pool_size=1)
    try:
        async with database.session(uuid.uuid4()) as session:
            pid = await session.scalar(text("SELECT pg_backend_pid()"))
        killer = await asyncpg.connect(os.environ["TEST_POSTGRES_URL"])
        await killer.execute("SELECT pg_terminate_backend($1)", pid)
        await killer.close()
        async with database.session(uuid.uuid4()) as session:
            assert await session.scalar(text("SELECT pg_backend_pid()")) != pid
    finally:
        await database.close()


async def test_one_connection_serves_many_tenants_and_mixes_none(database_of: DatabaseOf, urls_of: Any) -> None:
    """R-07: alternating tenants over one connection, with refusals and cancels in between."""
    database = Database((await urls_of("members")).app, pool_size=1)
    tenants = [uuid.uuid4(), uuid.uuid4()]
    actor = type("Somebody", (), {"kind": "system", "id": uuid.UUID(int=0), "session_id": "s"})()

    async def write(tenant: uuid.UUID, n: int) -> None:
        async with database.session(tenant) as session:
            note(session, actor, _Row(tenant, uuid.uuid4()), "noted", n=n)
            await session.flush()
            if n % 5 == 1:
                raise TextRefused
            if n % 5 == 2:
                asyncio.current_task().cancel()  # type: ignore[union-attr]
                await asyncio.sleep(0)

    try:
        for n in range(100):
            await asyncio.gather(asyncio.create_task(write(tenants[n % 2], n)), return_exceptions=True)
        for parity, tenant in enumerate(tenants):
            async with database.session(tenant) as session:
                kept = [int(str(row.details["n"])) for row in await session.scalars(select(Audit)) if row.details]
            assert sorted(kept) == [n for n in range(100) if n % 2 == parity and n % 5 not in (1, 2)]
            rows = await database.read(tenant, "SELECT tenant_id FROM audit")
            assert {row["tenant_id"] for row in rows} == {tenant}
    finally:
        await database.close()
