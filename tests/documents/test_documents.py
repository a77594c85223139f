"""What happens to documents once they are there: lists, edits, the recycle bin, the history."""

import re
import uuid
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import event, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.changes import Audit, Outbox
from libs.common.db import Database
from libs.common.pages import encode_cursor
from libs.common.sweeps import sweep_once
from services.documents.documents.search import Filter
from services.documents.edges import Edges
from services.documents.erasures.sweeps import DELETIONS_DUE, SWEEPS, delete_in_store
from services.documents.work import work_once
from tests.conftest import ClientOf, TokenFor
from tests.documents.conftest import DOCUMENTS, PDF, As, Caller, Known

PNG = b"\x89PNG\r\n\x1a\n...."


async def _edit(caller: Caller, document: dict[str, Any], version: int = 1, **fields: Any) -> Any:
    headers = {"If-Match": f'"{version}"'}
    return await caller.client.patch(f"{DOCUMENTS}/{document['id']}", json=fields, headers=headers)


async def _bin(caller: Caller, document: dict[str, Any], version: int = 1) -> None:
    answer = await caller.client.delete(f"{DOCUMENTS}/{document['id']}", headers={"If-Match": f'"{version}"'})
    assert answer.status_code == 204, answer.text


async def test_documents_are_listed_newest_first(as_: As, bob: uuid.UUID, known: Known) -> None:
    """A-33"""
    carla, eva = as_("counsellor"), await known()
    for name in ("eins.pdf", "zwei.pdf", "drei.pdf"):
        await carla.file(bob, name=name)
    await carla.file(eva, name="über eva.pdf")
    assert await carla.names(member_id=bob) == ["drei.pdf", "zwei.pdf", "eins.pdf"]
    assert await carla.names() == ["über eva.pdf", "drei.pdf", "zwei.pdf", "eins.pdf"]
    assert await carla.names(member_id=uuid.uuid4()) == []


async def test_pages_follow_without_gap_or_repeat_in_one_statement_each(
    as_: As, bob: uuid.UUID, database: Database
) -> None:
    """A-33, R-29"""
    carla = as_("counsellor")
    for number in range(7):
        await carla.file(bob, name=f"{number}.pdf")
    seen, cursor = [], None
    while True:
        statements: list[str] = []

        def note(_c: Any, _k: Any, statement: str, *_: Any, to: list[str] = statements) -> None:
            to.append(statement)

        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        params = {"member_id": str(bob), "limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await carla.get(DOCUMENTS, params=params)).json()
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
        assert sum("FROM documents" in statement for statement in statements) == 1
        seen += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"{number}.pdf" for number in reversed(range(7))]


async def test_a_cursor_serves_its_own_list_only(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    for _ in range(2):
        await carla.file(bob)
    cursor = (await carla.get(DOCUMENTS, params={"limit": 1})).json()["next"]
    for params in ({"cursor": cursor, "tag": "a"}, {"cursor": "nonsense"}, {"cursor": cursor, "member_id": str(bob)}):
        answer = await carla.get(DOCUMENTS, params=params)
        assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_cursor_of_a_time_that_utc_does_not_have_is_malformed(as_: As, at: str) -> None:
    """No 5xx from any input: a cursor is a client's text like any other."""
    forged = encode_cursor(Filter().name(), at, str(uuid.uuid4()))
    answer = await as_("counsellor").get(DOCUMENTS, params={"cursor": forged})
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


async def test_lists_are_narrowed_by_type_kind_tag_and_text(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    await carla.file(bob, name="Jahresbericht STRASSE.pdf", tags=["Bericht", "2026"], description="über Weihnachten")
    await carla.file(bob, PNG, "foto.png", kind="record", tags=["Bild"])
    names = {
        ("type", "application/pdf"): ["Jahresbericht STRASSE.pdf"],
        ("type", "image/"): ["foto.png"],
        ("type", "image/pn"): [],
        ("kind", "record"): ["foto.png"],
        ("tag", "Bericht"): ["Jahresbericht STRASSE.pdf"],
        ("tag", "bericht"): [],
        ("text", "straße jahres"): ["Jahresbericht STRASSE.pdf"],
        ("text", "WEIHNACHTEN"): ["Jahresbericht STRASSE.pdf"],
        ("text", "bild"): ["foto.png"],
        ("text", "100%_"): [],
    }
    for (field, value), found in names.items():
        assert await carla.names(member_id=bob, **{field: value}) == found, (field, value)


async def test_a_document_is_renamed_described_and_tagged(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    document = await carla.file(bob)
    edited = await _edit(
        carla, document, name="../neu:er.pdf", description="Text\nzwei", tags=["a"], valid_until="2030-01-01"
    )
    assert edited.status_code == 200, edited.text
    assert edited.headers["etag"] == '"2"'
    found = (await carla.get(f"{DOCUMENTS}/{document['id']}")).json()
    assert (found["name"], found["description"], found["tags"]) == ("neu_er.pdf", "Text\nzwei", ["a"])
    assert await carla.names(text="zwei") == ["neu_er.pdf"]
    same = await _edit(carla, document, version=2, tags=["a"])
    assert same.headers["etag"] == '"2"'
    cleared = await _edit(carla, document, version=2, description=None, valid_until=None)
    assert (cleared.json()["description"], cleared.json()["valid_until"]) == (None, None)


@pytest.mark.parametrize(
    ("fields", "if_match", "status"),
    [
        ({"name": "x"}, None, 428),
        ({"name": "x"}, '"7"', 412),
        ({"name": "x"}, "x", 400),
        ({"nmae": "x"}, '"1"', 400),
        ({"name": ""}, '"1"', 400),
        ({"name": "a\u202eb"}, '"1"', 400),
        ({"tags": ["x"] * 21}, '"1"', 400),
        ({"uploader_id": str(uuid.uuid4())}, '"1"', 400),
        ({"visibility": "public"}, '"1"', 400),
    ],
)
async def test_edits_that_are_refused(
    as_: As, bob: uuid.UUID, fields: dict[str, Any], if_match: str | None, status: int
) -> None:
    carla = as_("counsellor")
    document = await carla.file(bob)
    headers = {"If-Match": if_match} if if_match else {}
    answer = await carla.client.patch(f"{DOCUMENTS}/{document['id']}", json=fields, headers=headers)
    assert answer.status_code == status


async def test_a_deleted_document_comes_back_until_its_deadline(as_: As, bob: uuid.UUID) -> None:
    """A-35: deleted by its uploader; in the recycle bin of the uploader only."""
    carla = as_("counsellor")
    document = await carla.file(bob)
    await _bin(carla, document)
    path = f"{DOCUMENTS}/{document['id']}"
    assert await carla.names(member_id=bob) == []
    assert (await carla.get(path)).status_code == (await carla.get(f"{path}/content")).status_code == 404
    [binned] = (await carla.get(DOCUMENTS, params={"bin": True})).json()["items"]
    assert binned["restorable_until"] > document["uploaded_at"]
    for other in (as_("admin"), as_("counsellor", id=carla.id, holder=2)):
        assert await other.names(bin=True) == []
        assert (await other.client.post(f"{path}/restore")).status_code == 404
    assert (await carla.client.post(f"{path}/restore")).json()["restorable_until"] is None
    assert await carla.names(member_id=bob) == ["bericht.pdf"]
    assert (await carla.get(f"{path}/content")).content == PDF


async def test_after_the_deadline_it_is_gone_from_the_store_too(
    as_: As, bob: uuid.UUID, edges: Edges, database: Database, acme: uuid.UUID, sweeper: AsyncEngine
) -> None:
    """A-35"""
    carla = as_("counsellor")
    kept, document = await carla.file(bob, name="bleibt.pdf"), await carla.file(bob)
    await _bin(carla, document)
    async with database.session(acme) as session:
        await session.execute(text("UPDATE documents SET purge_at = now() - interval '1 s' WHERE purge_at IS NOT NULL"))
    assert (await carla.client.post(f"{DOCUMENTS}/{document['id']}/restore")).status_code == 404
    for sweep in SWEEPS:
        await sweep_once(sweep, database, sweeper)
    await work_once(DELETIONS_DUE, delete_in_store, edges, sweeper)
    assert len([found async for found in edges.store.objects(f"{acme}/")]) == 1
    assert await carla.names(bin=True) == []
    assert (await carla.get(f"{DOCUMENTS}/{kept['id']}/content")).content == PDF
    async with database.session(acme) as session:
        removed = select(Outbox.row_id, Outbox.row_version).where(Outbox.type == "documents.document.removed.v1")
        assert [(str(id), version) for id, version in await session.execute(removed)] == [(document["id"], 3)]


async def test_a_bin_can_be_emptied_and_switched_off(as_: As, bob: uuid.UUID) -> None:
    carla = as_("counsellor")
    document = await carla.file(bob)
    path = f"{DOCUMENTS}/{document['id']}"
    assert (await carla.client.post(f"{path}/erase")).status_code == 404  # only from the bin
    await _bin(carla, document)
    assert (await carla.client.post(f"{path}/erase")).status_code == 204
    assert await carla.names(bin=True) == []
    settings = await as_("admin").client.patch(
        "/documents/v1/settings", json={"bin_days": 0}, headers={"If-Match": '"0"'}
    )
    assert settings.status_code == 200
    await _bin(carla, await carla.file(bob))
    assert await carla.names(bin=True) == []


async def test_the_history_tells_the_uploader_what_happened(as_: As, bob: uuid.UUID) -> None:
    """R-26"""
    carla = as_("counsellor")
    document = await carla.file(bob)
    await _edit(carla, document, name="neu.pdf")
    await carla.get(f"{DOCUMENTS}/{document['id']}/content")
    await _bin(carla, document, version=2)
    path = f"{DOCUMENTS}/{document['id']}/history"
    entries = (await carla.get(path)).json()["items"]
    assert [entry["fact"].removeprefix("documents.document.") for entry in entries] == [
        "binned",
        "downloaded",
        "edited",
        "added.v1",
    ]
    assert entries[2]["details"] == {"changed": ["name"]}
    first = (await carla.get(path, params={"limit": 3})).json()
    rest = (await carla.get(path, params={"limit": 3, "cursor": first["next"]})).json()
    assert first["items"] + rest["items"] == entries
    assert (await as_("admin").get(path)).status_code == 404


async def test_neither_events_nor_the_audit_tell_what_a_document_is(
    as_: As, bob: uuid.UUID, database: Database, acme: uuid.UUID
) -> None:
    """A-34: who hears or reads that there is a document does not learn what it is."""
    carla = as_("counsellor")
    document = await carla.file(bob, name="Diagnose.pdf", description="geheim", tags=["geheim"])
    await _edit(carla, document, name="Diagnose zwei.pdf", description="sehr geheim")
    async with database.session(acme) as session:
        told = [*await session.scalars(select(Outbox.data)), *await session.scalars(select(Audit.details))]
    assert len(told) == 3
    assert told[0] == {"member_id": str(bob), "uploader_id": str(carla.id)}
    assert not re.search("diagnose|geheim|pdf", str(told), re.IGNORECASE)


SETTINGS = "/documents/v1/settings"


@pytest.mark.parametrize(("role", "status"), [("member", 403), ("counsellor", 403), ("admin", 200), ("owner", 200)])
async def test_who_may_change_what_the_tenant_allows(as_: As, globex: uuid.UUID, role: str, status: int) -> None:
    headers = {"If-Match": '"0"'}
    answer = await as_(role).client.patch(SETTINGS, json={"bin_days": 7}, headers=headers)
    assert answer.status_code == status
    assert (await as_("member").get(SETTINGS)).json()["bin_days"] == (7 if status == 200 else 30)
    assert (await as_("member", tenant=globex).get(SETTINGS)).json()["bin_days"] == 30
    again = await as_("owner").client.patch(SETTINGS, json={"bin_days": 8}, headers=headers)
    assert again.status_code == (412 if status == 200 else 200)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bin_days": -1},
        {"bin_days": 401},
        {"visibilities": []},
        {"visibilities": ["public"]},
        {"forbidden_types": ["nonsense"]},
        {"uploader_quota_bytes": -1},
        {"tenant_quota_bytes": 2**50},
        {"version": 3},
    ],
)
async def test_settings_that_make_no_sense_are_malformed(as_: As, wrong: dict[str, Any]) -> None:
    answer = await as_("admin").client.patch(SETTINGS, json=wrong, headers={"If-Match": '"0"'})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_operators_say_how_much_and_see_no_more(
    app: Litestar, as_: As, bob: uuid.UUID, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID
) -> None:
    """Limits are an operator's to give; who is no operator is not let in, and operators get in nowhere else."""
    path = f"/documents/v1/operator/tenants/{acme}/limits"
    operator = client_of(app, token_for("operator"))
    await as_("counsellor").file(bob)
    limits = await operator.get(path)
    assert limits.json() == {
        "max_file_bytes": 5 * 1024**3,
        "tenant_quota_bytes": 100 * 1024**3,
        "used_bytes": len(PDF),
        "version": 0,
    }
    changed = await operator.patch(path, json={"max_file_bytes": 9}, headers={"If-Match": limits.headers["etag"]})
    assert (changed.status_code, changed.json()["max_file_bytes"]) == (200, 9)
    assert (await as_("counsellor").upload(bob)).status_code == 413
    for answer in (await as_("owner").get(path), await operator.get(DOCUMENTS)):
        assert answer.status_code == 401
