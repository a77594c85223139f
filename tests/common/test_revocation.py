"""The revocation table over a real broker with the real permissions: cold starts, losses, returns, repetitions."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from libs.common import revocation, streams
from libs.common.bus import BROKER_ERRORS, Bus, Sizes
from libs.common.errors import Unauthenticated, Unavailable
from libs.common.keys import TOKEN, KeyRing, ensure_keys
from libs.common.revocation import (
    KEPT,
    Notice,
    Revocations,
    key_ended,
    membership_below,
    session_ended,
    tenant_closed,
)
from libs.common.stack.nats import Nats
from libs.common.stack.state import State
from libs.common.tokens import Actor, IssuerKeys, TokenIssuer, TokenVerifier
from tests.common.waiting import until

ACME, GLOBEX = uuid.UUID(int=1), uuid.UUID(int=2)
BOB = uuid.UUID(int=7)
NOWHERE = "nats://nobody@127.0.0.1:1"
SMALL = Sizes(max_bytes=16 * 1024 * 1024)


def _actor(**changed: Any) -> Actor:
    fields: dict[str, Any] = {
        "kind": "member",
        "id": BOB,
        "tenant_id": ACME,
        "session_id": "s1",
        "authorisation_version": 3,
        "expires_at": float("inf"),
    }
    return Actor(**{**fields, **changed})


def _say(table: Revocations, notice: Notice) -> None:
    table.apply(notice.subject, msgspec.json.encode(notice.data))


@pytest.fixture
def table() -> Revocations:
    made = Revocations(Bus(NOWHERE))
    made.mark_read()
    return made


# What the table says, without a broker.


@pytest.mark.parametrize(
    ("notice", "refused", "admitted"),
    [
        (membership_below(BOB, 4), {}, {"authorisation_version": 4}),
        (membership_below(BOB, 4), {"kind": "key", "session_id": "k1"}, {"id": uuid.UUID(int=8)}),
        (session_ended("s1"), {}, {"session_id": "s2"}),
        (session_ended("s1"), {"kind": "operator", "tenant_id": None}, {"kind": "key"}),
        (key_ended("s1"), {"kind": "key"}, {}),
        (tenant_closed(ACME), {}, {"tenant_id": GLOBEX}),
        (tenant_closed(ACME), {"kind": "key"}, {"kind": "operator", "tenant_id": None}),
    ],
)
def test_what_is_refused_and_what_is_not(
    table: Revocations, notice: Notice, refused: dict[str, Any], admitted: dict[str, Any]
) -> None:
    assert not table.refuses(_actor(**refused))
    _say(table, notice)
    assert table.refuses(_actor(**refused))
    assert not table.refuses(_actor(**admitted))


def test_order_and_repetition_do_not_matter(table: Revocations) -> None:
    for av in (5, 4, 5, 3):
        _say(table, membership_below(BOB, av))
    assert table.refuses(_actor(authorisation_version=4))
    assert not table.refuses(_actor(authorisation_version=5))


def test_a_tenant_that_is_opened_again_is_let_in(table: Revocations) -> None:
    _say(table, tenant_closed(ACME))
    _say(table, tenant_closed(ACME, closed=False))
    assert not table.refuses(_actor())


def test_entries_are_forgotten_after_fifteen_minutes_and_not_before() -> None:
    now = [1000.0]
    table = Revocations(Bus(NOWHERE), clock=lambda: now[0])
    table.mark_read()
    _say(table, session_ended("s1"))
    now[0] += KEPT - 1
    _say(table, session_ended("s2"))
    table._forget()
    assert table.refuses(_actor(session_id="s1"))
    now[0] += 40
    table._forget()
    assert not table.refuses(_actor(session_id="s1"))
    assert table.refuses(_actor(session_id="s2"))


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("revoked.membership", b"{}"),
        ("revoked.membership.a.b", b"{}"),
        ("revoked.session.s1", b"no json"),
        ("revoked.session.s1", b'{"av":"x"}'),
        ("revoked.session.s1", b'{"x":' + b"[" * 50_000),
    ],
)
def test_a_message_that_cannot_be_read_stops_nothing(table: Revocations, subject: str, body: bytes) -> None:
    table.apply(subject, body)
    _say(table, membership_below(BOB, 9))
    assert table.refuses(_actor())


def test_a_table_that_was_never_read_lets_nobody_in() -> None:
    with pytest.raises(Unavailable):
        Revocations(Bus(NOWHERE)).refuses(_actor())


# With a broker.


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    part = Nats(State(tmp_path_factory.mktemp("nats")))
    part.start()
    yield part
    part.stop()


@pytest.fixture
async def nats(broker: Nats) -> AsyncIterator[Nats]:
    """Running, with streams that are declared and empty."""
    async with _bus(Bus(broker.urls["platform"], SMALL)) as platform:
        await platform.connected()
        for stream in await platform.js.streams_info():
            await platform.js.delete_stream(str(stream.config.name))
        await streams.declare(platform)
    yield broker
    broker.thaw()
    if broker.has_died() or not broker._process:
        broker.start()


@asynccontextmanager
async def _bus(bus: Bus) -> AsyncIterator[Bus]:
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def _table(bus: Bus) -> AsyncIterator[Revocations]:
    """What every API process has."""
    async with _bus(bus):
        table = Revocations(bus)
        task = asyncio.create_task(table.run())
        try:
            yield table
        finally:
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _publish(nats: Nats, *notices: Notice) -> None:
    """As identity's relay does."""
    async with _bus(Bus(nats.urls["identity"])) as bus:
        await bus.connected()
        for notice in notices:
            body = msgspec.json.encode(notice.data)
            await bus.publish(revocation.STREAM, notice.subject, body, id=str(uuid.uuid4()))


@pytest.mark.parametrize("user", ["identity", "members", "documents", "notifier"])
async def test_an_empty_stream_is_read_at_once(nats: Nats, user: str) -> None:
    async with _table(Bus(nats.urls[user])) as table:
        await until(lambda: table.ready, within=3)
        assert not table.refuses(_actor())


async def test_a_start_reads_all_there_is_before_anybody_comes_in(nats: Nats) -> None:
    await _publish(nats, *(session_ended(f"s{number}") for number in range(500)), membership_below(BOB, 4))
    async with _table(Bus(nats.urls["documents"])) as table:
        seen = []
        while not table.ready:
            with pytest.raises(Unavailable):
                table.refuses(_actor())
            seen.append(len(table._refused))
            await asyncio.sleep(0)
        assert len(table._refused) == 501
        assert table.refuses(_actor())
        assert table.refuses(_actor(id=uuid.uuid4(), session_id="s499"))
        assert seen


async def test_a_message_is_heard_as_soon_as_it_is_published(nats: Nats) -> None:
    async with _table(Bus(nats.urls["documents"])) as table, _bus(Bus(nats.urls["identity"])) as bus:
        await until(lambda: table.ready)
        waits = []
        for number in range(50):
            actor = _actor(session_id=f"s{number}")
            assert not table.refuses(actor)
            await bus.publish(revocation.STREAM, f"revoked.session.s{number}", b"{}", id=str(uuid.uuid4()))
            since = asyncio.get_running_loop().time()
            await until(lambda actor=actor: table.refuses(actor), within=3)  # type: ignore[misc]
            waits.append(asyncio.get_running_loop().time() - since)
        assert sorted(waits)[len(waits) // 2] < 0.5


async def test_without_a_broker_at_the_start_the_answer_is_503_until_it_is_there(nats: Nats, tmp_path: Path) -> None:
    ensure_keys(tmp_path, [TOKEN])
    keys = IssuerKeys(KeyRing(tmp_path, TOKEN))
    token = TokenIssuer(keys, "me").mint(_actor())[0]
    await _publish(nats, session_ended("s1"))
    nats.stop()
    async with _table(Bus(nats.urls["documents"])) as table:
        verifier = TokenVerifier(keys, "me", table.refuses)
        for _ in range(10):
            with pytest.raises(Unavailable):
                verifier.actor(token)
            await asyncio.sleep(0.02)
        nats.start()
        await until(lambda: table.ready)
        with pytest.raises(Unauthenticated):
            verifier.actor(token)


async def test_while_the_broker_is_away_the_table_serves_with_what_it_has(nats: Nats) -> None:
    await _publish(nats, session_ended("s1"))
    async with _table(Bus(nats.urls["documents"])) as table:
        await until(lambda: table.ready)
        nats.kill()
        silent = table.silent_for()
        await asyncio.sleep(1.5)
        assert table.silent_for() > silent + 1
        assert table.ready
        assert table.refuses(_actor())
        assert not table.refuses(_actor(session_id="s2"))
        nats.start()
        await _publish(nats, session_ended("s2"))
        await until(lambda: table.refuses(_actor(session_id="s2")))
        assert table.silent_for() < 2


async def test_what_was_published_while_the_connection_was_cut_is_read_afterwards(nats: Nats) -> None:
    """The connection is lost and back in an instant: no word of the broker, but nothing is missing either."""
    async with _table(Bus(nats.urls["documents"])) as table:
        await until(lambda: table.ready)
        cast(Any, table._bus)._client._transport._io_writer.transport.abort()
        await _publish(nats, session_ended("s1"))
        await until(lambda: table.refuses(_actor()))


async def test_a_frozen_broker_is_waited_for(nats: Nats) -> None:
    async with _table(Bus(nats.urls["documents"])) as table:
        await until(lambda: table.ready)
        nats.freeze()
        await until(lambda: table.silent_for() > 4)
        assert not table.refuses(_actor())
        nats.thaw()
        await _publish(nats, session_ended("s1"))
        await until(lambda: table.refuses(_actor()))


async def test_a_consumer_that_was_taken_away_is_made_again(nats: Nats) -> None:
    async with _table(Bus(nats.urls["documents"])) as table, _bus(Bus(nats.urls["platform"])) as platform:
        await until(lambda: table.ready)
        (consumer,) = await platform.js.consumers_info(revocation.STREAM)
        await platform.js.delete_consumer(revocation.STREAM, consumer.name)
        await _publish(nats, session_ended("s1"))
        await until(lambda: table.refuses(_actor()))


class LossyBus(Bus):
    """Loses a message of one subject, once."""

    loses = "revoked.session.s1"
    dropped = False

    async def subscribe(self, subject: str, heard: Callable[[Msg], Awaitable[None]]) -> Subscription:
        async def lossy(message: Msg) -> None:
            if message.subject == self.loses and not self.dropped:
                self.dropped = True
            else:
                await heard(message)

        return await super().subscribe(subject, lossy)


@pytest.mark.parametrize("followed", [False, True], ids=["noticed by a heartbeat", "noticed by the next message"])
async def test_a_message_that_got_lost_on_the_way_is_read_again(nats: Nats, followed: bool) -> None:
    bus = LossyBus(nats.urls["documents"])
    async with _table(bus) as table:
        await until(lambda: table.ready)
        await _publish(nats, session_ended("s1"), *([session_ended("s2")] if followed else []))
        await until(lambda: bus.dropped)
        await until(lambda: table.refuses(_actor()))


@pytest.mark.parametrize("lost", ["s1", "s2", "s3"])
async def test_a_start_that_lost_a_message_lets_nobody_in_before_it_was_read(nats: Nats, lost: str) -> None:
    await _publish(nats, *(session_ended(session) for session in ("s1", "s2", "s3")))
    bus = LossyBus(nats.urls["documents"])
    bus.loses = f"revoked.session.{lost}"
    async with _table(bus) as table:
        await until(lambda: table.ready)
        assert bus.dropped
        assert all(table.refuses(_actor(session_id=session)) for session in ("s1", "s2", "s3"))


async def test_a_broker_with_nothing_to_say_is_heard_all_the_same(nats: Nats) -> None:
    async with _table(Bus(nats.urls["documents"])) as table, _bus(Bus(nats.urls["platform"])) as platform:
        await until(lambda: table.ready)
        longest = 0.0
        for _ in range(50):
            await asyncio.sleep(0.1)
            longest = max(longest, table.silent_for())
        assert longest < 3
        assert len(await platform.js.consumers_info(revocation.STREAM)) == 1  # followed, not read again and again


async def test_an_end_that_is_reached_by_what_was_deleted_meanwhile_is_reached() -> None:
    """The last message said that another is pending, and that one aged out: the heartbeat says that this was all."""
    table = Revocations(Bus(NOWHERE))
    reading = revocation._Reading(table)
    beat = {"Status": "100", "Nats-Last-Consumer": "1"}
    pending = Msg(cast(Any, None), "revoked.session.s1", "$JS.ACK.REVOKED.c.1.7.1.1700000000000000000.1", b"{}")
    await reading.heard(pending)
    assert not table.ready
    await reading.heard(Msg(cast(Any, None), "inbox", headers=beat))
    assert table.ready
    assert table.refuses(_actor())


async def test_streams_that_are_declared_late_are_found(nats: Nats) -> None:
    async with _bus(Bus(nats.urls["platform"], SMALL)) as platform:
        await platform.connected()
        await platform.js.delete_stream(revocation.STREAM)
        async with _table(Bus(nats.urls["documents"])) as table:
            await asyncio.sleep(0.5)
            assert not table.ready
            await streams.declare(platform)
            await until(lambda: table.ready)


async def test_no_service_but_identity_can_revoke(nats: Nats) -> None:
    async with _table(Bus(nats.urls["documents"])) as table, _bus(Bus(nats.urls["members"])) as members:
        await until(lambda: table.ready)
        await members.connected()
        with pytest.raises(BROKER_ERRORS):
            await members.publish(revocation.STREAM, "revoked.session.s1", b"{}", id="x", within=0.5)
        await _publish(nats, session_ended("s2"))
        await until(lambda: table.refuses(_actor(session_id="s2")))
        assert not table.refuses(_actor())
