"""Consumers: one effect for an event, however often and in whatever order it comes, and no event stops the others."""

import asyncio
import contextlib
import json
import random
import signal
import uuid
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common import consumers
from libs.common.bus import Sizes
from libs.common.changes import Event
from libs.common.consumers import Consumer, is_away, pause_after
from libs.common.inlets import UNREADABLE, Inlet, NotYet, Received, Rejected, on
from tests.common.deliveries import envelope, had, lag, quiet, subject_of
from tests.common.rig import MIB, Happened, Rig, keep, until


async def test_from_the_outbox_to_the_effect(rig: Rig) -> None:
    row_id = uuid.uuid4()
    await rig.relay()
    await rig.consumer()
    id = await rig.record(5, row_id=row_id, version=9)
    await until(lambda: had(rig, 1))
    [effect] = await rig.effects()
    assert (effect["tenant_id"], effect["event_id"], effect["row_id"]) == (rig.tenant, id, row_id)
    assert effect["row_version"] == 9


async def test_what_comes_three_times_and_shuffled_has_one_effect(rig: Rig) -> None:
    rows = [uuid.uuid4() for _ in range(20)]
    events = [(row_id, envelope(rig.tenant, row_id, version)) for row_id in rows for version in range(1, 4)]
    deliveries = events * 3
    random.shuffle(deliveries)
    bus = await rig.bus("members")
    await asyncio.gather(*(rig.publish(subject_of(rig.tenant, row_id), body, bus=bus) for row_id, body in deliveries))
    await rig.consumer()
    await until(lambda: quiet(rig))
    effects = await rig.effects()
    assert len(effects) == 60
    assert len({effect["event_id"] for effect in effects}) == 60


async def test_two_consumers_of_one_service_share_the_work_and_have_one_effect(rig: Rig) -> None:
    for _ in range(2):
        await rig.consumer()
    await rig.relay()
    for n in range(100):
        await rig.record(n)
    await until(lambda: had(rig, 100))
    await until(lambda: quiet(rig))
    assert len(await rig.effects()) == 100


async def test_poison_becomes_one_dead_letter_and_later_events_flow(rig: Rig) -> None:
    row_id = uuid.uuid4()
    poison = [
        b"not even json",
        b"\xff\xfe\x00",
        envelope(rig.tenant, row_id, data={"n": "a word"}),
        envelope(rig.tenant, row_id, data=[]),
    ]
    for body in poison:
        for _ in range(2):
            await rig.publish(subject_of(rig.tenant, row_id), body)
    await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id, 2))
    await rig.consumer()
    await until(lambda: had(rig, 1))
    await until(lambda: quiet(rig))
    letters = await rig.dead_letters()
    assert [letter["state"] for letter in letters] == ["open"] * 4
    assert {letter["raw"] for letter in letters} == set(poison)
    assert {letter["consumer"] for letter in letters} == {"EV_MEMBERS"}
    assert sorted(letter["tenant_id"] == rig.tenant for letter in letters) == [False, False, True, True]
    assert all(letter["deliveries"] == 1 for letter in letters), "what cannot be read is not tried again"


async def test_what_no_reader_can_get_through_is_set_aside_under_whatever_subject(rig: Rig) -> None:
    deep = b'{"id":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    bus = await rig.bus("members")
    await bus.publish("EV_MEMBERS", "ev.members.odd", b"not even json", id="odd")
    await rig.publish(subject_of(rig.tenant, uuid.uuid4()), deep)
    await rig.publish(subject_of(rig.tenant, uuid.uuid4()), envelope(rig.tenant, uuid.uuid4()))
    await rig.consumer()
    await until(lambda: quiet(rig))
    assert len(await rig.dead_letters()) == 2
    assert len(await rig.effects()) == 1


@pytest.mark.parametrize("sizes", [Sizes(max_bytes=64 * MIB, ack_wait=2)])
async def test_after_a_run_that_fell_every_tenant_is_served_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker runs the same consumer again; what was in hand is delivered again."""
    fallen: list[str] = []

    def fall(body: bytes) -> Received[Event] | None:
        if not fallen:
            fallen.append("once")
            raise ArithmeticError("a mistake of ours")
        return read(body)

    consumer = await rig.consumer(run=False)
    read = consumer.inlet.read
    monkeypatch.setattr(consumer.inlet, "read", fall)
    for _ in range(3):
        await rig.publish(subject_of(rig.tenant, uuid.uuid4()), envelope(rig.tenant, uuid.uuid4()))
    with pytest.RaisesGroup(ArithmeticError):
        await consumer.run()
    running = asyncio.create_task(consumer.run())
    await until(lambda: had(rig, 3))
    await until(lambda: quiet(rig))
    consumer.stop()
    await running


async def test_an_event_that_is_rejected_is_set_aside_at_once_with_its_effects_undone(rig: Rig) -> None:
    async def reject(session: AsyncSession, event: Received[Happened]) -> None:
        await keep(session, event)
        raise Rejected("no")

    await rig.relay()
    await rig.consumer(on(Happened, reject))
    id = await rig.record()
    await until(lambda: _letters(rig, 1))
    [letter] = await rig.dead_letters()
    assert (letter["event_id"], letter["deliveries"], letter["error"]) == (id, 1, "Rejected: no")
    assert await rig.effects() == []
    await until(lambda: quiet(rig))


async def _letters(rig: Rig, number: int) -> bool:
    return len(await rig.dead_letters()) >= number


async def test_a_handler_that_fails_is_tried_again_and_at_the_eighth_delivery_set_aside(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "pause_after", lambda deliveries: 0.05)  # instead of four minutes
    tried: list[uuid.UUID] = []

    async def fail(session: AsyncSession, event: Received[Happened]) -> None:
        await keep(session, event)
        tried.append(event.id)
        if event.data.n == 1:
            raise LookupError("not known yet")
        if event.data.n == 2 and tried.count(event.id) < 3:
            raise LookupError("not known yet")

    await rig.relay()
    await rig.consumer(on(Happened, fail))
    hopeless, late, fine = await rig.record(1), await rig.record(2), await rig.record(3)
    await until(lambda: _letters(rig, 1))
    await until(lambda: quiet(rig))
    # One try more for those that came together.
    assert tried.count(hopeless) in (8, 9)
    assert tried.count(late) in (3, 4)
    assert tried.count(fine) in (1, 2)
    assert {effect["event_id"] for effect in await rig.effects()} == {late, fine}
    [letter] = await rig.dead_letters()
    assert (letter["event_id"], letter["deliveries"]) == (hopeless, 8)
    assert letter["error"] == "LookupError: not known yet"


async def test_an_event_that_comes_too_early_comes_again_soon_and_is_no_failure(rig: Rig) -> None:
    tried: list[uuid.UUID] = []

    async def early(session: AsyncSession, event: Received[Happened]) -> None:
        tried.append(event.id)
        if len(tried) < 3:
            raise NotYet("its row is not there")
        await keep(session, event)

    await rig.relay()
    await rig.consumer(on(Happened, early))
    await rig.record()
    await until(lambda: had(rig, 1))
    assert len(tried) == 3
    assert await rig.dead_letters() == []


def test_pauses_grow_and_scatter() -> None:
    assert all(1.6 <= pause_after(1) <= 2.4 for _ in range(100))
    assert all(240 <= pause_after(20) <= 360 for _ in range(100))
    assert len({pause_after(3) for _ in range(100)}) > 50


class Unheard(Event, frozen=True):
    name: ClassVar[str] = "members.thing.unheard_of.v1"


async def test_types_that_nobody_listens_to_and_unknown_fields_are_no_obstacle(rig: Rig) -> None:
    row_id = uuid.uuid4()
    await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id, type=Unheard.name, data={"a": 1}))
    grown = envelope(rig.tenant, row_id, 2, data={"n": 2, "added_later": [1]}, newattribute="x")
    await rig.publish(subject_of(rig.tenant, row_id), grown)
    await rig.consumer()
    await until(lambda: quiet(rig))
    assert [effect["row_version"] for effect in await rig.effects()] == [2]
    assert await rig.dead_letters() == []


async def test_two_handlers_of_one_event_share_its_transaction(rig: Rig) -> None:
    async def fail(session: AsyncSession, event: Received[Happened]) -> None:
        raise Rejected

    await rig.relay()
    await rig.consumer(on(Happened, keep), on(Happened, fail))
    await rig.record()
    await until(lambda: _letters(rig, 1))
    assert await rig.effects() == []


@pytest.mark.parametrize("sizes", [Sizes(max_bytes=64 * MIB, ack_wait=2)])
async def test_killed_between_effect_and_acknowledgement_the_effect_stays_single(rig: Rig) -> None:
    for n in range(5):
        await rig.record(n)
    relay = await rig.relay()
    await until(lambda: _length(rig, 5))
    relay.stop()
    process = rig.process("identity", failpoint="after_effect_before_ack")
    await until(lambda: _gone(process))
    assert process.returncode == -signal.SIGKILL
    assert await rig.effects(), "effects were committed"
    assert await lag(rig) > 0, "and the broker does not know of all"
    rig.process("identity")
    await until(lambda: quiet(rig))
    assert len(await rig.effects()) == 5


async def _length(rig: Rig, number: int) -> bool:
    return await rig.length() >= number


async def _gone(process) -> bool:  # type: ignore[no-untyped-def]
    return process.poll() is not None


@pytest.mark.parametrize("sizes", [Sizes(max_bytes=64 * MIB, ack_wait=4)])
async def test_a_slow_handler_is_not_given_to_somebody_else(rig: Rig) -> None:
    """The wait for an acknowledgement is 4 s here; a handler that works longer says so."""
    tried: list[uuid.UUID] = []

    async def slow(session: AsyncSession, event: Received[Happened]) -> None:
        tried.append(event.id)
        await asyncio.sleep(7)

    await rig.relay()
    await rig.consumer(on(Happened, slow))
    await rig.record()
    await until(lambda: _tried_and_quiet(rig, tried))
    platform = await rig.bus("platform")
    info = await platform.js.consumer_info("EV_MEMBERS", "identity")
    assert info.delivered.consumer_seq == 1
    assert len(tried) == 1


async def _tried_and_quiet(rig: Rig, tried: list[uuid.UUID]) -> bool:
    return bool(tried) and await quiet(rig)


async def test_while_the_database_is_away_an_event_costs_no_delivery(rig: Rig) -> None:
    consumer = await rig.consumer(run=False)
    attempts = 0

    async def away(event: Received[Event], **options: Any) -> bool:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConnectionRefusedError("gone for a moment")
        return await apply(event, **options)

    apply, consumer.inlet.apply = consumer.inlet.apply, away  # type: ignore[method-assign]
    running = asyncio.create_task(consumer.run())
    await rig.relay()
    await rig.record()
    await until(lambda: had(rig, 1))
    await until(lambda: quiet(rig))
    platform = await rig.bus("platform")
    assert (await platform.js.consumer_info("EV_MEMBERS", "identity")).delivered.consumer_seq == 1
    assert attempts == 3
    consumer.stop()
    await running


def test_only_a_lost_database_counts_as_away() -> None:
    assert is_away(ConnectionRefusedError())
    assert is_away(DBAPIError("", None, Exception(), connection_invalidated=True))
    assert not is_away(TimeoutError())
    assert not is_away(DBAPIError("", None, Exception()))


async def test_after_the_broker_was_gone_events_flow_within_seconds(rig: Rig) -> None:
    await rig.relay()
    await rig.consumer()
    await rig.record()
    await until(lambda: had(rig, 1))
    rig.nats.kill()
    await asyncio.sleep(1)
    rig.nats.start()
    await rig.record()
    await until(lambda: had(rig, 2), within=25)  # sooner than the wait for an acknowledgement


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_arrives_is_read_or_refused(data: st.DataObject) -> None:
    """No input makes reading fail in a way that is not foreseen."""
    inlet = Inlet("EV_MEMBERS", [on(Happened, keep)], None)  # type: ignore[arg-type]
    whole = envelope(uuid.uuid4(), uuid.uuid4())
    body = data.draw(
        st.one_of(
            st.binary(max_size=300),
            st.integers(0, len(whole)).map(lambda at: whole[:at]),
            st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)).map(
                lambda place: whole[: place[0]] + bytes([place[1]]) + whole[place[0] + 1 :]
            ),
            st.dictionaries(st.text(max_size=12), st.integers() | st.text() | st.none(), max_size=4).map(
                lambda odd: json.dumps(json.loads(whole) | odd).encode()
            ),
        )
    )
    with contextlib.suppress(*UNREADABLE):
        inlet.read(body)


async def test_stopping_finishes_what_is_in_hand_and_takes_nothing_new(rig: Rig) -> None:
    begun = asyncio.Event()

    async def slow(session: AsyncSession, event: Received[Happened]) -> None:
        begun.set()
        await asyncio.sleep(1)
        await keep(session, event)

    await rig.relay()
    consumer: Consumer = await rig.consumer(on(Happened, slow), hands=1, run=False)
    running = asyncio.create_task(consumer.run())
    for n in range(3):
        await rig.record(n)
    await begun.wait()
    consumer.stop()
    await asyncio.wait_for(running, 20)
    assert len(await rig.effects()) == 1
    assert await lag(rig) == 2
