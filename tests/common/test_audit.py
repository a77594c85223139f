"""The audit's chain: any change shows, erasure does not break it, two workers make one chain."""

import asyncio
import json
import uuid

import asyncpg
import pytest
from sqlalchemy import select

from libs.common.audit import Verdict, _digest, _link, chain, forget, verify
from libs.common.changes import Audit
from tests.common.rig import Rig


async def note(rig: Rig, tenant: uuid.UUID, row_id: uuid.UUID | None = None) -> None:
    """An entry, as `record` writes it."""
    connection = await asyncpg.connect(rig.members.migrate)
    await connection.execute(
        "INSERT INTO audit (tenant_id, actor_kind, actor_id, session_id, row_id, type, details)"
        " VALUES ($1, 'member', $1, 's', $2, 'members.thing.happened.v1', $3)",
        tenant,
        row_id or uuid.uuid4(),
        json.dumps({"name": "Zoë", "n": 1.5, "list": [1, None], "b": {"z": 1, "a": 2}}),
    )
    await connection.close()


async def chained(rig: Rig, tenant: uuid.UUID) -> None:
    async with rig.database(rig.members.app).session(tenant) as session:
        await chain(session, tenant, tenant)


async def verified(rig: Rig, tenant: uuid.UUID) -> Verdict:
    async with rig.database(rig.members.app).session(tenant) as session:
        return await verify(session)


async def test_a_chain_grows_and_verifies(rig: Rig) -> None:
    heads = set()
    for round in range(1, 4):
        for _ in range(4):
            await note(rig, rig.tenant)
        assert (await verified(rig, rig.tenant)).unchained == 4
        await chained(rig, rig.tenant)
        verdict = await verified(rig, rig.tenant)
        assert (verdict.rows, verdict.unchained, verdict.wrong) == (4 * round, 0, None)
        heads.add(verdict.head)
    assert len(heads) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE audit SET details = '{}' WHERE chained = 3", "the details of entry 3"),
        ("UPDATE audit SET actor_id = uuidv7() WHERE chained = 3", "the details of entry 3"),
        ("UPDATE audit SET row_id = uuidv7() WHERE chained = 3", "the details of entry 3"),
        ("UPDATE audit SET type = 'other' WHERE chained = 3", "entry 3"),
        ("UPDATE audit SET created_at = created_at - interval '1 us' WHERE chained = 3", "entry 3"),
        ("UPDATE audit SET digest = sha256('') WHERE chained = 3", "entry 3"),
        ("UPDATE audit SET chain = sha256('') WHERE chained = 3", "entry 3"),
        ("DELETE FROM audit WHERE chained = 3", "entry 3 is missing"),
        ("UPDATE audit SET chained = chained + 1 WHERE chained = 5", "entry 5 is missing"),
        ("UPDATE audit SET salt = NULL WHERE chained = 3", "entry 3"),
    ],
)
async def test_any_change_shows(rig: Rig, change: str, said: str) -> None:
    for _ in range(5):
        await note(rig, rig.tenant)
    await chained(rig, rig.tenant)
    owner = await asyncpg.connect(rig.members.migrate)
    await owner.execute(change)
    await owner.close()
    verdict = await verified(rig, rig.tenant)
    assert verdict.wrong is not None
    assert said in verdict.wrong


async def test_an_entry_that_is_forged_with_its_own_link_breaks_the_next_one(rig: Rig) -> None:
    """Who can write the table can make one entry fit; every later one stands on the old."""
    for _ in range(4):
        await note(rig, rig.tenant)
    await chained(rig, rig.tenant)
    async with rig.database(rig.members.migrate).session(rig.tenant) as session:
        found = await session.scalars(select(Audit).where(Audit.chained.in_((2, 3))).order_by(Audit.chained))
        second, third = found.all()
        third.details = {"n": "forged"}
        third.digest = _digest(third)
        third.chain = _link(second.chain or b"", 3, third)
    assert (await verified(rig, rig.tenant)).wrong == await _changed(rig, 4)


async def _changed(rig: Rig, position: int) -> str:
    owner = await asyncpg.connect(rig.members.migrate)
    id = await owner.fetchval("SELECT id FROM audit WHERE chained = $1", position)
    await owner.close()
    return f"entry {position} ({id}) or the one before it was changed"


async def test_rows_that_are_gone_from_the_end_show_against_the_value_kept_elsewhere(rig: Rig) -> None:
    for _ in range(3):
        await note(rig, rig.tenant)
    await chained(rig, rig.tenant)
    kept = (await verified(rig, rig.tenant)).head
    owner = await asyncpg.connect(rig.members.migrate)
    await owner.execute("DELETE FROM audit WHERE chained = 3")
    await owner.close()
    assert (await verified(rig, rig.tenant)).head != kept


async def test_erasure_forgets_and_the_chain_still_verifies(rig: Rig) -> None:
    gone, stays = uuid.uuid4(), uuid.uuid4()
    for row_id in (gone, stays, gone):
        await note(rig, rig.tenant, row_id)
    await chained(rig, rig.tenant)
    await note(rig, rig.tenant, gone)  # not chained yet
    async with rig.database(rig.members.app).session(rig.tenant) as session:
        assert await forget(session, gone) == 3
    owner = await asyncpg.connect(rig.members.migrate)
    left = await owner.fetch("SELECT row_id, details, salt FROM audit WHERE details IS NOT NULL OR salt IS NOT NULL")
    await owner.close()
    assert [row["row_id"] for row in left] == [stays]
    verdict = await verified(rig, rig.tenant)
    assert (verdict.rows, verdict.unchained, verdict.wrong) == (4, 0, None)


async def test_two_workers_make_one_chain_and_tenants_have_chains_of_their_own(rig: Rig) -> None:
    other = uuid.uuid4()
    for _ in range(30):
        await note(rig, rig.tenant)
    await note(rig, other)
    await asyncio.gather(*(chained(rig, rig.tenant) for _ in range(8)), chained(rig, other))
    assert (await verified(rig, rig.tenant)).rows == 30
    assert (await verified(rig, rig.tenant)).wrong is None
    assert (await verified(rig, other)).rows == 1
