"""The relay: nothing lost, nothing overtakes within a row, nothing sent behind anybody's back."""

import asyncio
import random
import signal
import uuid

import asyncpg
import pytest
from nats.js import api
from nats.js.errors import APIError

from libs.common.bus import BROKER_ERRORS, Bus, Sizes
from libs.common.relay import Row, waves
from tests.common.rig import MIB, Rig, inversions, until, write_versions


async def _all_published(rig: Rig) -> bool:
    return not await rig.unpublished()


async def _expect_whole(rig: Rig) -> list[dict[str, object]]:
    """Every recorded event is in the stream, in order within its row."""
    await until(lambda: _all_published(rig))
    messages = await rig.stream()
    assert {message["id"] for message in messages} == {str(row["id"]) for row in await rig.outbox()}
    assert inversions(messages) == 0
    return messages


async def test_an_event_travels_as_a_cloud_event(rig: Rig) -> None:
    row_id = uuid.uuid4()
    id = await rig.record(7, row_id=row_id, version=3)
    await rig.relay()
    [message] = await _expect_whole(rig)
    assert message["specversion"] == "1.0"
    assert message["id"] == str(id)
    assert message["type"] == "members.thing.happened.v1"
    assert message["source"] == "/members"
    assert message["subject"] == str(row_id)
    assert message["tenantid"] == str(rig.tenant)
    assert (message["rowversion"], message["data"]) == (3, {"n": 7})
    [row] = await rig.outbox()
    assert (row["stream_seq"], row["attempts"], row["last_error"]) == (1, 1, None)


async def test_nothing_is_lost_or_overtaken_when_several_relays_run_and_one_freezes(rig: Rig) -> None:
    connection = await asyncpg.connect(rig.members.migrate)
    database = await connection.fetchval("SELECT current_database()")
    await connection.close()
    admin = await asyncpg.connect(rig.members.relay)  # a role may change its own settings
    await admin.execute(
        f'ALTER ROLE members_relay IN DATABASE "{database}" SET idle_in_transaction_session_timeout = 2000'
    )
    await admin.close()
    processes = [rig.process("members") for _ in range(2)]
    for _ in range(2):
        await rig.relay()
    rows = [uuid.uuid4() for _ in range(40)]
    writers = [asyncio.create_task(write_versions(rig, rows[k::4], 30, pause=0.1)) for k in range(4)]
    for _ in range(3):
        await asyncio.sleep(0.8)
        frozen = random.choice(processes)
        frozen.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)
        frozen.send_signal(signal.SIGCONT)
    await asyncio.gather(*writers)
    assert len(await _expect_whole(rig)) >= 1200


class _Counting(Bus):
    sent = 0

    async def publish(self, stream: str, subject: str, body: bytes, *, id: str, within: float = 5) -> int:
        _Counting.sent += 1
        return await super().publish(stream, subject, body, id=id, within=within)


async def test_several_relays_share_the_work_and_none_does_it_twice(rig: Rig) -> None:
    _Counting.sent = 0
    for _ in range(4):
        bus = _Counting(rig.nats.urls["members"], rig.sizes)
        await bus.start()
        await bus.connected(60)
        await rig.relay(bus=bus, poll=0.01)
    rows = [uuid.uuid4() for _ in range(100)]
    await asyncio.gather(*(write_versions(rig, rows[k::4], 6) for k in range(4)))
    await until(lambda: _all_published(rig))
    assert _Counting.sent == 600
    assert {row["attempts"] for row in await rig.outbox()} == {1}


async def test_an_event_that_is_committed_late_is_published(rig: Rig) -> None:
    """The sequence is taken before the commit: a relay that remembered its place would miss the first one."""
    await rig.relay()
    async with rig.writing() as slow:
        early = await rig.write(slow)
        late = await rig.record()
        await until(lambda: _all_published(rig))  # sees only what is committed
        assert [row["id"] for row in await rig.outbox()] == [late]
    await _expect_whole(rig)
    assert {row["id"] for row in await rig.outbox()} == {early, late}


async def test_nothing_is_sent_afterwards_what_was_refused_while_the_broker_was_down(rig: Rig) -> None:
    bus = await rig.bus("members")
    rig.nats.kill()
    await until(_disconnected(bus))
    for _ in range(20):
        with pytest.raises(BROKER_ERRORS):
            subject = f"ev.members.thing.{rig.tenant}.{uuid.uuid4()}"
            await bus.publish("EV_MEMBERS", subject, b"{}", id=subject, within=0.2)
        await asyncio.sleep(0.01)
    rig.nats.start()
    await bus.connected(60)
    await asyncio.sleep(0.5)
    assert await rig.length() == 0


def _disconnected(bus: Bus):  # type: ignore[no-untyped-def]
    async def gone() -> bool:
        return not bus.is_connected

    return gone


async def test_events_wait_while_the_broker_is_down_and_come_once(rig: Rig) -> None:
    relay = await rig.relay()
    await rig.record()
    await until(lambda: _all_published(rig))
    rig.nats.kill()
    for version in range(2, 12):
        await rig.record(version=version, row_id=uuid.UUID(int=version % 3))
    await asyncio.sleep(1)
    assert await rig.unpublished() == 10
    rig.nats.start()
    assert len(await _expect_whole(rig)) == 11
    assert relay.bus.is_connected


async def test_a_hint_wakes_the_relay(rig: Rig) -> None:
    """With polling as good as off, only the hint can explain it. A hint that is lost costs one poll, no event."""
    relay = await rig.relay(poll=60)
    await relay.bus.on_hint(relay.wake)
    hinting = await rig.bus("members")
    await asyncio.sleep(0.3)  # past the first look
    for _ in range(5):
        await rig.record()
        hinting.hint()
        await until(lambda: _all_published(rig), within=30)  # half the poll


async def test_a_commit_that_recorded_an_event_hints_and_another_does_not(rig: Rig) -> None:
    hints: list[int] = []
    database = rig.database(rig.members.app, committed=lambda: hints.append(1))
    async with database.session(rig.tenant):
        pass
    assert hints == []
    async with database.session(rig.tenant) as session:
        session.info["recorded"] = True
    assert hints == [1]


async def test_what_cannot_be_published_is_not_overtaken_and_holds_back_only_its_partition(rig: Rig) -> None:
    stuck, elsewhere = uuid.UUID(int=16), uuid.UUID(int=17)
    async with rig.writing() as connection:
        await rig.write(connection, row_id=stuck, subject="ev.nobody.thing.a.b")
    await rig.record(row_id=stuck, version=2)
    fine = await rig.record(row_id=elsewhere)
    await rig.relay()
    await until(lambda: _published(rig, fine))
    await until(lambda: _blamed(rig))
    assert await rig.unpublished() == 2
    assert await rig.length() == 1


async def test_a_round_goes_on_without_a_partition_that_is_stuck(rig: Rig) -> None:
    """The others are carried to their end, and the stuck one rests."""
    stuck, elsewhere = uuid.UUID(int=16), uuid.UUID(int=17)
    async with rig.writing() as connection:
        await rig.write(connection, row_id=stuck, subject="ev.nobody.thing.a.b")
        for version in (1, 2, 3):
            await rig.write(connection, row_id=elsewhere, version=version)
    relay = await rig.relay(run=False)
    assert await relay._round() == 3
    assert [one["rowversion"] for one in await rig.stream()] == [1, 2, 3]
    assert await relay._round() == 0
    [left] = [row for row in await rig.outbox() if row["published_at"] is None]
    assert left["attempts"] == 1


async def _published(rig: Rig, id: uuid.UUID) -> bool:
    return any(row["id"] == id and row["published_at"] for row in await rig.outbox())


async def _blamed(rig: Rig) -> bool:
    return any(row["attempts"] > 1 and "no stream keeps" in (row["last_error"] or "") for row in await rig.outbox())


async def test_the_broker_refuses_what_is_meant_for_another_stream(rig: Rig) -> None:
    bus = await rig.bus("members")
    with pytest.raises(APIError):
        await bus.publish("EV_IDENTITY", f"ev.members.thing.{rig.tenant}.{uuid.uuid4()}", b"{}", id="1")


class _Unreliable(Bus):
    """Loses the answer, or the message, of the k-th publish."""

    def __init__(self, url: str, sizes: Sizes, k: int, *, delivered: bool) -> None:
        super().__init__(url, sizes)
        self.left, self.delivered = k, delivered

    async def publish(self, stream: str, subject: str, body: bytes, *, id: str, within: float = 5) -> int:
        self.left -= 1
        if self.left == 0 and not self.delivered:
            raise TimeoutError
        seq = await super().publish(stream, subject, body, id=id, within=within)
        if self.left == 0:
            raise TimeoutError
        return seq


@pytest.mark.parametrize("delivered", [True, False])
async def test_order_survives_a_failure_at_any_place(rig: Rig, delivered: bool) -> None:
    partition = [uuid.UUID(int=16 * n) for n in range(1, 4)]
    for k in range(1, 10):
        async with rig.writing() as connection:
            for version in range(1, 4):
                for row_id in partition:
                    await rig.write(connection, row_id=row_id, version=version + 10 * k)
        bus = _Unreliable(rig.nats.urls["members"], rig.sizes, k, delivered=delivered)
        await bus.start()
        await bus.connected(60)
        relay = await rig.relay(bus=bus)
        await until(lambda: _all_published(rig))
        relay.stop()
    assert len(await _expect_whole(rig)) == 81


async def test_a_crash_between_publishing_and_marking_repeats_under_the_same_id(rig: Rig) -> None:
    for n in range(20):
        await rig.record(n)
    process = rig.process("members", failpoint="after_publish_before_mark")
    await until(lambda: _dead(process))
    assert process.returncode == -signal.SIGKILL
    assert await rig.length() > 0, "something was published"
    assert await rig.unpublished() == 20, "and nothing marked"
    await rig.relay()
    assert len(await _expect_whole(rig)) == 20, "the broker knows the ids"


async def _dead(process) -> bool:  # type: ignore[no-untyped-def]
    return process.poll() is not None


@pytest.mark.parametrize("sizes", [Sizes(max_bytes=64 * 1024)])
async def test_a_full_stream_stops_the_relay_and_loses_nothing(rig: Rig) -> None:
    for n in range(300):
        await rig.record(n)
    await rig.relay()
    await until(lambda: _refused(rig))
    assert await rig.unpublished() > 0
    platform = await rig.bus("platform")
    config = (await platform.js.stream_info("EV_MEMBERS")).config
    assert config.discard == api.DiscardPolicy.NEW
    config.max_bytes = 8 * MIB
    await platform.js.update_stream(config)
    assert len(await _expect_whole(rig)) == 300


async def _refused(rig: Rig) -> bool:
    return any("maximum bytes exceeded" in (row["last_error"] or "") for row in await rig.outbox())


def test_a_wave_holds_one_event_of_a_row() -> None:
    made = [_row(row_id, version) for version in range(3) for row_id in (1, 2, 1)]
    cut = list(waves(made))
    assert [len(wave) for wave in cut] == [2, 2, 2, 1, 1, 1]
    for row_id in (1, 2):
        mine = [row for row in made if row.row_id.int == row_id]
        assert [row for wave in cut for row in wave if row.row_id.int == row_id] == mine


def _row(row_id: int, version: int) -> Row:
    from datetime import UTC, datetime

    id = uuid.UUID(int=row_id)
    return Row(row_id % 16, uuid.uuid4(), uuid.uuid4(), datetime.now(UTC), id, version, "a.b.c.v1", "ev.x", "{}", None)
