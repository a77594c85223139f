"""The worker: sweeps in each tenant, housekeeping, and an orderly end whatever is away."""

import asyncio
import signal
import time
import uuid

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import Audit
from libs.common.db import open_engine
from libs.common.housekeeping import RETENTION, clear
from libs.common.inlets import Received, on
from libs.common.metrics import DEAD_LETTERS, OUTBOX_WAITING
from libs.common.sweeps import Sweep, sweep_once
from libs.common.worker import ADVISORIES, Task, Worker
from tests.common.rig import Happened, Rig, keep, until

DUE = select(Audit.tenant_id, Audit.id).where(Audit.chained.is_(None)).order_by(Audit.sequence)


async def _note(rig: Rig, tenant: uuid.UUID) -> uuid.UUID:
    connection = await asyncpg.connect(rig.members.migrate)
    id: uuid.UUID = await connection.fetchval(
        "INSERT INTO audit (tenant_id, actor_kind, actor_id, session_id, row_id, type)"
        " VALUES ($1, 'member', $1, 's', $1, 't') RETURNING id",
        tenant,
    )
    await connection.close()
    return id


async def test_a_sweep_acts_in_each_tenant_as_the_app_role_and_one_failure_stops_no_other(rig: Rig) -> None:
    acme, globex = uuid.uuid4(), uuid.uuid4()
    notes = {await _note(rig, acme): acme, await _note(rig, globex): globex, await _note(rig, acme): acme}
    failing = next(iter(notes))
    acted: dict[uuid.UUID, uuid.UUID] = {}

    async def act(session: AsyncSession, tenant_id: uuid.UUID, id: uuid.UUID) -> None:
        seen = set((await session.scalars(select(Audit.tenant_id))).all())
        assert seen == {tenant_id}, "only the tenant's own rows"
        if id == failing:
            raise LookupError
        acted[id] = tenant_id

    sweeper = open_engine(rig.members.sweep)
    try:
        found = await sweep_once(Sweep("test", DUE, act), rig.database(rig.members.app), sweeper)
    finally:
        await sweeper.dispose()
    assert found == (3, 2)
    assert acted == {id: tenant for id, tenant in notes.items() if id != failing}


async def test_the_sweep_role_reads_nothing_but_what_it_is_shown(rig: Rig) -> None:
    connection = await asyncpg.connect(rig.members.sweep)
    try:
        await connection.fetch("SELECT tenant_id, id FROM audit")
        for statement in ("SELECT details FROM audit", "SELECT id FROM outbox", "DELETE FROM audit"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_what_is_past_its_time_is_cleared_and_nothing_else(rig: Rig) -> None:
    owner = await asyncpg.connect(rig.members.migrate)
    relay = open_engine(rig.members.relay)
    try:
        for age, published in ((13, True), (15, True), (15, False), (40, False)):
            await owner.execute(
                "INSERT INTO outbox (tenant_id, created_at, partition, row_id, row_version, type, subject, data,"
                " published_at) VALUES ($1, now() - $2 * interval '1 day', 0, $1, $2, 't', 's', '{}',"
                " CASE WHEN $3 THEN now() - $2 * interval '1 day' END)",
                rig.tenant,
                age,
                published,
            )
        for age in (20, 22):
            await owner.execute(
                "INSERT INTO inbox (tenant_id, consumer, event_id, received_at)"
                " VALUES ($1, 'x', uuidv7(), now() - $2 * interval '1 day')",
                rig.tenant,
                age,
            )
        gone = await clear(relay)
        assert gone == {"outbox": 1, "inbox": 1, "idempotency_keys": 0}
        assert set(gone) == set(RETENTION)
        assert [row["row_version"] for row in await rig.outbox()] == [13, 15, 40], "what was never published stays"
    finally:
        await relay.dispose()
        await owner.close()


async def test_a_worker_carries_handles_sweeps_and_starts_again_what_fails(rig: Rig) -> None:
    calls: list[float] = []

    async def fails_at_first(worker: Worker) -> None:
        calls.append(time.monotonic())
        if len(calls) < 3:
            raise LookupError
        await worker.stopping.wait()

    async def keep_slowly(session: AsyncSession, event: Received[Happened]) -> None:
        await keep(session, event)

    members = Worker("members", rig.settings("members"), tasks=[Task("test", fails_at_first)])
    identity = Worker("identity", rig.settings("identity"), handlers=[on(Happened, keep_slowly)])
    for worker in (members, identity):
        worker.bus.sizes = rig.sizes
    running = [asyncio.create_task(worker.run()) for worker in (members, identity)]
    try:
        await _note(rig, rig.tenant)
        for n in range(50):
            await rig.record(n)
        await rig.publish(f"ev.members.thing.{rig.tenant}.{uuid.uuid4()}", b"poison")
        await until(lambda: _effects(rig, 50))
        await until(lambda: _chained(rig))
        await until(lambda: _called(calls))
        await until(lambda: _letters(rig))
        await identity._measure_dead_letters()  # the gauge without waiting for its turn
        assert DEAD_LETTERS.labels("EV_MEMBERS")._value.get() == 1
        await until(lambda: _alarmed(identity))
    finally:
        started = time.monotonic()
        for worker in (members, identity):
            worker.stop()
        await asyncio.gather(*running)
    assert time.monotonic() - started < 8
    assert len(await rig.effects()) == 50
    assert OUTBOX_WAITING._value.get() >= 0


async def _alarmed(worker: Worker) -> bool:
    """The broker has noted that an event was ended, and the worker shows it."""
    await worker._measure_broker()
    return bool(ADVISORIES.labels("EV_MEMBERS", "msg_terminated")._value.get() == 1)


async def _effects(rig: Rig, number: int) -> bool:
    return len(await rig.effects()) >= number


async def _called(calls: list[float]) -> bool:
    return len(calls) == 3


async def _letters(rig: Rig) -> bool:
    return len(await rig.dead_letters()) == 1


async def _chained(rig: Rig) -> bool:
    connection = await asyncpg.connect(rig.members.migrate)
    try:
        return bool(await connection.fetchval("SELECT bool_and(chained IS NOT NULL) FROM audit"))
    finally:
        await connection.close()


@pytest.mark.parametrize("service", ["members", "identity"])
@pytest.mark.parametrize("broker", ["up", "down", "frozen"])
async def test_sigterm_ends_a_worker_within_ten_seconds(rig: Rig, service: str, broker: str) -> None:
    process = rig.process(service)
    await until(lambda: _in_log(rig, service, "worker_ready"))
    if broker == "down":
        rig.nats.kill()
        for n in range(20):
            await rig.record(n)
        await asyncio.sleep(1)
    if broker == "frozen":
        rig.nats.freeze()
        for n in range(20):
            await rig.record(n)
        await asyncio.sleep(0.5)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(process.wait, 15)
    assert code == 0
    assert time.monotonic() - started < 10
    rig.nats.thaw()


async def _in_log(rig: Rig, service: str, words: str) -> bool:
    return words in (rig.directory / f"{service}-0.log").read_text()


async def test_a_worker_starts_without_a_broker_and_sweeps_all_the_same(rig: Rig) -> None:
    rig.nats.kill()
    await _note(rig, rig.tenant)
    rig.process("members")
    await until(lambda: _chained(rig))
    rig.nats.start()
    await until(lambda: _in_log(rig, "members", "worker_ready"))


async def test_a_connection_that_is_closed_for_good_ends_the_worker(rig: Rig) -> None:
    process = rig.process("members")
    await until(lambda: _in_log(rig, "members", "worker_ready"))
    rig.nats.kill()
    secrets = rig.directory / "stack" / "secrets.json"  # the password changes while the broker is away
    secrets.write_text(secrets.read_text().replace(rig.nats.state.secret("nats.members"), "x" * 32))
    rig.nats.start()
    code = await asyncio.to_thread(process.wait, 15)
    assert code == 1, "whoever supervises it starts it again, with the new password"


async def test_the_relay_role_sees_the_outbox_of_all_tenants_and_no_other_table(rig: Rig) -> None:
    await rig.record(tenant=uuid.uuid4())
    await rig.record(tenant=uuid.uuid4())
    engine = open_engine(rig.members.relay)
    try:
        async with engine.connect() as connection:
            assert (await connection.scalar(text("SELECT count(*) FROM outbox"))) == 2
        for statement in ("SELECT 1 FROM audit", "INSERT INTO outbox (tenant_id) VALUES (uuidv7())"):
            async with engine.connect() as connection:
                with pytest.raises(Exception, match="permission denied"):
                    await connection.execute(text(statement))
    finally:
        await engine.dispose()
