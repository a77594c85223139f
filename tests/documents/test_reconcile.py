"""The store and the database, compared both ways and put right."""

import uuid
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db import Database
from services.documents import reconcile as module
from services.documents.cli import commands
from services.documents.edges import Edges
from services.documents.reconcile import Finding, reconcile
from services.documents.settings import Settings
from services.documents.store import Place
from tests.documents.conftest import DOCUMENTS, PDF, UPLOADS, As

NOW = timedelta(0)


async def _found(edges: Edges, sweeper: AsyncEngine, tenant: uuid.UUID, **how: Any) -> set[tuple[str, str, bool]]:
    how = {"repair": False, "young": NOW, **how}
    found: list[Finding] = [one async for one in reconcile(edges, sweeper, tenant_id=tenant, **how)]
    return {(one.kind, one.key, one.repaired) for one in found}


async def _damage(edges: Edges, database: Database, tenant: uuid.UUID, lost: str) -> tuple[Place, Place, Place]:
    """An object without a row, parts without a row, a row without an object."""
    orphan, unfinished = Place(tenant, uuid.uuid4()), Place(tenant, uuid.uuid4())
    await edges.store.put(orphan, PDF)
    await edges.store.put_part(unfinished, await edges.store.begin(unfinished), 1, PDF)
    async with database.session(tenant) as session:
        row = (await session.execute(text("SELECT object_id FROM documents WHERE id = :id"), {"id": lost})).one()
    await edges.store.delete(Place(tenant, row.object_id))
    return orphan, unfinished, Place(tenant, row.object_id)


async def test_orphans_on_both_sides_are_found_and_put_right(
    as_: As, bob: uuid.UUID, edges: Edges, database: Database, sweeper: AsyncEngine, acme: uuid.UUID
) -> None:
    carla = as_("counsellor")
    kept, document = await carla.file(bob, name="bleibt.pdf"), await carla.file(bob)
    announced = {"member_id": str(bob), "name": "x", "size": 5, "sha256": "0" * 64}
    upload = (await carla.client.post(UPLOADS, json=announced)).json()
    part = {"parts": [{"number": 1, "sha256": "0" * 64}]}
    await carla.client.post(f"{UPLOADS}/{upload['id']}/parts", json=part)
    assert await _found(edges, sweeper, acme) == set()
    orphan, unfinished, lost = await _damage(edges, database, acme, document["id"])

    everything = {("orphan", orphan.key), ("unfinished", unfinished.key), ("lost", lost.key)}
    assert await _found(edges, sweeper, acme) == {(*one, False) for one in everything}
    young = await _found(edges, sweeper, acme, young=timedelta(hours=1))
    assert {kind for kind, *_ in young} == {"lost"}
    assert await _found(edges, sweeper, uuid.uuid4()) == set()
    assert await _found(edges, sweeper, acme, repair=True) == {(*one, True) for one in everything}
    assert await _found(edges, sweeper, acme) == set()

    assert [one.key async for one in edges.store.objects(f"{acme}/")] != [orphan.key]
    assert (await carla.get(f"{DOCUMENTS}/{document['id']}")).json()["lost"]
    answer = await carla.get(f"{DOCUMENTS}/{document['id']}/content")
    assert (answer.status_code, answer.json()["code"]) == (410, "content_lost")
    assert (await carla.get(f"{DOCUMENTS}/{kept['id']}/content")).content == PDF
    assert (await carla.get(f"{UPLOADS}/{upload['id']}")).json()["state"] == "open"


async def test_many_pages_are_compared(
    as_: As, bob: uuid.UUID, edges: Edges, database: Database, sweeper: AsyncEngine, acme: uuid.UUID,
    monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "_PAGE", 2)
    carla = as_("counsellor")
    documents = [await carla.file(bob) for _ in range(5)]
    orphan, unfinished, lost = await _damage(edges, database, acme, documents[2]["id"])
    found = await _found(edges, sweeper, acme)
    assert {key for _, key, _ in found} == {orphan.key, unfinished.key, lost.key}


async def test_the_command_says_what_it_found(
    as_: As, bob: uuid.UUID, edges: Edges, database: Database, settings: Settings, acme: uuid.UUID
) -> None:
    """`control-centre documents reconcile` ends with 1 as long as something is to be put right."""
    import asyncio

    document = await as_("counsellor").file(bob)
    *_, lost = await _damage(edges, database, acme, document["id"])
    environ = {name.upper(): str(value) for name, value in msgspec.structs.asdict(settings).items()}
    for options, status in (([], 1), (["--repair"], 0), ([], 0)):
        command = ["reconcile", "--tenant", str(acme), *options]
        result = await asyncio.to_thread(CliRunner().invoke, commands, command, env=environ)
        assert result.exit_code == status, result.output
        assert (lost.key in result.output) == (result.output.startswith("lost"))
