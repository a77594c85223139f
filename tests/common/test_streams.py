"""What the broker holds is what is declared, or the service does not become ready."""

import asyncio

import pytest
from nats.js import api

from libs.common.bus import BrokerAway, Bus, Sizes
from libs.common.events.subjects import DURABLES, Durable, event_subject, stream_of
from libs.common.streams import Drift, check, declare
from libs.common.worker import Worker
from tests.common.rig import MIB, Rig, until


async def test_declaring_twice_changes_nothing(rig: Rig) -> None:
    assert await declare(await rig.bus("platform")) == []


async def test_every_service_finds_what_it_needs(rig: Rig) -> None:
    for user in ("identity", "members", "documents", "notifier"):
        mine = [durable.stream for durable in DURABLES if durable.service == user]
        await check(await rig.bus(user), [f"EV_{user.upper()}", "REVOKED", *mine])


@pytest.mark.parametrize(
    "change",
    [
        {"discard": api.DiscardPolicy.OLD},
        {"duplicate_window": 1.0},
        {"max_age": 3600.0},
        {"max_bytes": 32 * MIB},
        {"subjects": ["ev.members.>", "more.>"]},
        {"max_msgs_per_subject": 5},
        {"allow_direct": True},
    ],
    ids=str,
)
async def test_a_stream_that_differs_is_refused_and_named(rig: Rig, change: dict[str, object]) -> None:
    platform = await rig.bus("platform")
    config = (await platform.js.stream_info("EV_MEMBERS")).config
    await platform.js.update_stream(config.evolve(**change))
    [field] = change
    with pytest.raises(Drift, match=f"EV_MEMBERS: .*{field} is"):
        await check(await rig.bus("members"), ["EV_MEMBERS"])
    with pytest.raises(Drift):
        await declare(platform)
    assert len(await declare(platform, update=True)) == 1
    await check(await rig.bus("members"), ["EV_MEMBERS"])


async def test_a_consumer_that_differs_is_refused_and_named(rig: Rig) -> None:
    platform = await rig.bus("platform")
    config = (await platform.js.consumer_info("EV_MEMBERS", "identity")).config
    config.max_deliver = 3
    await platform.js.add_consumer("EV_MEMBERS", config)
    with pytest.raises(Drift, match="EV_MEMBERS/identity: max_deliver is 3, declared 20"):
        await check(await rig.bus("identity"), ["EV_MEMBERS"])
    assert len(await declare(platform, update=True)) == 1


async def test_a_stream_that_is_missing_says_what_to_do(rig: Rig) -> None:
    platform = await rig.bus("platform")
    await platform.js.delete_stream("EV_MEMBERS")
    with pytest.raises(Drift, match="streams declare"):
        await check(await rig.bus("members"), ["EV_MEMBERS"])
    assert await declare(platform) == ["EV_MEMBERS made"] + [
        f"EV_MEMBERS/{durable.service} made" for durable in DURABLES if durable.stream == "EV_MEMBERS"
    ]


async def test_a_worker_is_not_ready_and_publishes_nothing_until_the_streams_are_as_declared(rig: Rig) -> None:
    platform = await rig.bus("platform")
    config = (await platform.js.stream_info("EV_MEMBERS")).config
    await platform.js.update_stream(config.evolve(discard=api.DiscardPolicy.OLD))
    await rig.record()
    worker = Worker("members", rig.settings("members"))
    worker.bus.sizes = rig.sizes
    running = asyncio.create_task(worker.run())
    try:
        await worker.bus.connected(60)
        await asyncio.sleep(1)
        assert not worker.ready
        assert await rig.length() == 0
        await declare(platform, update=True)
        await until(lambda: _ready(worker))
        await until(lambda: _published(rig))
    finally:
        worker.stop()
        await running
    assert not worker.ready


async def _ready(worker: Worker) -> bool:
    return worker.ready


async def _published(rig: Rig) -> bool:
    return await rig.unpublished() == 0


async def test_more_room_than_the_store_has_is_refused(rig: Rig) -> None:
    platform = await rig.bus("platform")
    platform.sizes = Sizes(max_bytes=10**15)
    with pytest.raises(Exception, match="storage"):
        await declare(platform, update=True)


async def test_where_there_is_no_broker_it_is_said_without_the_password() -> None:
    bus = Bus("nats://members:hush@127.0.0.1:1")
    await bus.start()
    try:
        with pytest.raises(BrokerAway, match=r"127\.0\.0\.1:1 as members") as error:
            await bus.connected(within=0.5)
        assert "hush" not in str(error.value)
    finally:
        await bus.close()


def test_subjects_lead_to_their_stream() -> None:
    assert event_subject("members.member.saved.v1", "t", "r") == "ev.members.member.t.r"
    assert stream_of("ev.members.member.t.r") == "EV_MEMBERS"
    assert stream_of("revoked.session.x") == "REVOKED"
    for subject in ("ev.members", "ev.nobody.a.b.c", "hint.members", "revoked", ""):
        with pytest.raises(ValueError, match="no stream"):
            stream_of(subject)


def test_no_service_has_two_places_in_one_stream() -> None:
    assert len({(durable.stream, durable.service) for durable in DURABLES}) == len(DURABLES)
    assert all(isinstance(durable, Durable) and durable.subjects for durable in DURABLES)
