"""Each NATS user can do its own part and nothing else: tried on a server with the permissions that production has."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from libs.common.bus import BROKER_ERRORS
from libs.common.events.subjects import DURABLES, NATS_USERS, SERVICES, STREAMS, events_of, hint_of, inbox_of
from tests.common.rig import Rig


@contextlib.asynccontextmanager
async def _as(rig: Rig, user: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """A plain connection of this user, and what the server refused it."""
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error).lower())

    client = await nats.connect(rig.nats.urls[user], inbox_prefix=inbox_of(user), error_cb=on_error)
    try:
        yield client, refused
    finally:
        await client.close()


async def _publishes(rig: Rig, user: str, *subjects: str) -> list[bool]:
    """Which of these the user may publish."""
    async with _as(rig, user) as (client, refused):
        for subject in subjects:
            await client.publish(subject, b"{}")
        await client.flush()
        await asyncio.sleep(0.05)
        return [not any(f'"{subject.lower()}"' in error for error in refused) for subject in subjects]


async def _subscribes(rig: Rig, user: str, *subjects: str) -> list[bool]:
    async with _as(rig, user) as (client, refused):
        for subject in subjects:
            await client.subscribe(subject)
        await client.flush()
        await asyncio.sleep(0.05)
        return [not any(f'"{subject.lower()}"' in error for error in refused) for subject in subjects]


async def test_events_are_published_by_their_service_alone(rig: Rig) -> None:
    for user in NATS_USERS:
        subjects = [f"ev.{owner}.thing.{uuid.uuid4()}.{uuid.uuid4()}" for owner in SERVICES]
        assert await _publishes(rig, user, *subjects) == [user == owner for owner in SERVICES]


async def test_only_identity_revokes_and_asks_members(rig: Rig) -> None:
    for user in NATS_USERS:
        asking = user == "identity"
        assert await _publishes(rig, user, "revoked.session.1", "rpc.members.admit") == [asking, asking]
        assert await _subscribes(rig, user, "rpc.members.admit") == [user == "members"]


async def test_nobody_listens_in(rig: Rig) -> None:
    """Events are had from durable consumers; whatever else flows has its readers named."""
    secret = (">", "ev.>", "ev.members.>", "revoked.>", "$JS.>", "_INBOX.>", "rpc.>")
    for user in NATS_USERS:
        assert not any(await _subscribes(rig, user, *secret))
        others = [inbox_of(other) + ".>" for other in NATS_USERS]
        assert await _subscribes(rig, user, *others) == [user == other for other in NATS_USERS]
        hints = [hint_of(service) for service in SERVICES]
        assert await _subscribes(rig, user, *hints) == [user == service for service in SERVICES]
        assert await _publishes(rig, user, *hints) == [user == service for service in SERVICES]


async def test_a_durable_consumer_is_read_and_answered_by_its_service_alone(rig: Rig) -> None:
    for user in SERVICES:
        for durable in DURABLES:
            place = f"{durable.stream}.{durable.service}"
            subjects = (
                f"$JS.API.CONSUMER.MSG.NEXT.{place}",
                f"$JS.API.CONSUMER.INFO.{place}",
                f"$JS.ACK.{place}.1.1.1.1.1",
                f"$JS.ACK.domain.account.{place}.1.1.1.1.1",
            )
            assert await _publishes(rig, user, *subjects) == [user == durable.service] * 4, (user, place)


async def test_streams_and_consumers_are_made_and_changed_by_platform_alone(rig: Rig) -> None:
    streams = ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT")
    consumers = ("CREATE", "DURABLE.CREATE", "DELETE")
    for user in SERVICES:
        subjects = []
        for stream in STREAMS:
            subjects += [f"$JS.API.STREAM.{verb}.{stream.name}" for verb in streams]
            if stream.name != "REVOKED":
                subjects += [f"$JS.API.CONSUMER.{verb}.{stream.name}.x" for verb in consumers]
                subjects += [f"$JS.API.CONSUMER.CREATE.{stream.name}", f"$JS.API.DIRECT.GET.{stream.name}"]
        assert not any(await _publishes(rig, user, *subjects))
    async with _as(rig, "platform") as (client, refused):
        assert (await client.jetstream().stream_info("EV_MEMBERS")).config.name == "EV_MEMBERS"
        assert not refused


@pytest.mark.parametrize("user", SERVICES)
async def test_every_service_can_do_what_it_must(rig: Rig, user: str) -> None:
    bus = await rig.bus(user)
    await bus.publish(events_of(user), f"ev.{user}.thing.{rig.tenant}.{uuid.uuid4()}", b"{}", id="1")
    for durable in DURABLES:
        if durable.service == user:
            await (await rig.bus(durable.stream.removeprefix("EV_").lower())).publish(
                durable.stream, f"{durable.subjects[0][:-2]}.thing.{rig.tenant}.{uuid.uuid4()}", b"{}", id="2"
            )
            [message] = await (await bus.pull(durable.stream)).fetch(1, timeout=3)
            await message.ack()
            await bus.js.consumer_info(durable.stream, user)
    identity = await rig.bus("identity")
    await identity.publish("REVOKED", "revoked.session.1", b"{}", id="3")
    revoked = await bus.js.subscribe("revoked.>", stream="REVOKED", ordered_consumer=True)
    assert (await revoked.next_msg(3)).data == b"{}"
    assert (await bus.js.stream_info("ADVISORIES")).config.name == "ADVISORIES"


async def test_members_answers_identity_and_cannot_answer_unasked(rig: Rig) -> None:
    members, identity = await rig.bus("members"), await rig.bus("identity")

    async def answer(body: bytes) -> bytes:
        return b"you said " + body

    await members.respond("rpc.members.admit", answer)
    await asyncio.sleep(0.1)
    assert await identity.request("rpc.members.admit", b"hello") == b"you said hello"
    assert await _publishes(rig, "members", "_INBOX_identity.guess") == [False]


async def test_a_question_that_nobody_answers_ends(rig: Rig) -> None:
    identity = await rig.bus("identity")
    with pytest.raises(BROKER_ERRORS):
        await identity.request("rpc.members.admit", b"hello", within=1)


@pytest.mark.parametrize("address", ["nats://identity:{members}@", "nats://members:{members}x@", "nats://"])
async def test_a_wrong_password_is_no_way_in(rig: Rig, address: str) -> None:
    _, password, server = rig.nats.urls["members"].removeprefix("nats://").replace("@", ":", 1).split(":", 2)
    client = Client()
    try:
        with pytest.raises((nats.errors.Error, TimeoutError)):
            await client.connect(
                address.format(members=password) + server, allow_reconnect=False, connect_timeout=2, error_cb=_ignore
            )
    finally:
        await client.close()


async def _ignore(_: Exception) -> None: ...


def test_acknowledging_takes_no_right_to_another_consumer() -> None:
    for user in SERVICES:
        for subject in NATS_USERS[user].publish:
            if subject.startswith("$JS.ACK"):
                assert f".{user}." in subject
