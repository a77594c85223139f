"""What an operator does by hand: streams, republish, dead letters, the audit's chain."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.bus import Sizes
from libs.common.cli import main
from libs.common.cli_events import retry_letters
from libs.common.inlets import Received, Rejected, on
from libs.common.republish import republish
from libs.common.streams import declare
from libs.common.worker import Worker
from tests.common.rig import MIB, Happened, Rig, inversions, keep, until

HOUR = timedelta(hours=1)


async def _command(rig: Rig, service: str, *words: str, **environ: str) -> Result:
    """As from a shell, with the environment of this service."""
    settings = rig.settings(service)
    known = {name.upper(): str(getattr(settings, name)) for name in settings.__struct_fields__}
    return await asyncio.to_thread(CliRunner().invoke, main, list(words), env=known | environ)


async def _reject(session: AsyncSession, event: Received[Happened]) -> None:
    raise Rejected("cannot be")


async def _letters(rig: Rig, number: int) -> bool:
    return len(await rig.dead_letters()) >= number


async def _effects(rig: Rig, number: int) -> bool:
    return len(await rig.effects()) >= number


async def _all_published(rig: Rig) -> bool:
    return await rig.unpublished() == 0


def _worker(rig: Rig, handler: Any = keep) -> Worker:
    return Worker("identity", rig.settings("identity"), handlers=[on(Happened, handler)])


async def _rejected(rig: Rig, number: int) -> list[asyncpg.Record]:
    """That many events that became dead letters, and no consumer any more."""
    await rig.relay()
    consumer = await rig.consumer(on(Happened, _reject))
    for n in range(number):
        await rig.record(n, tenant=uuid.uuid4())
    await until(lambda: _letters(rig, number))
    consumer.stop()
    return await rig.dead_letters()


async def test_dead_letters_are_listed_without_what_they_say(rig: Rig) -> None:
    letters = await _rejected(rig, 2)
    result = await _command(rig, "identity", "dead-letters", "list", "identity")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for line, letter in zip(lines, letters, strict=True):
        assert line.startswith(str(letter["id"]))
        assert str(letter["event_id"]) in line
        assert line.endswith("Rejected: cannot be")
    assert '"n"' not in result.stdout


async def test_a_dead_letter_that_is_retried_has_its_effect_once(rig: Rig) -> None:
    first, second = await _rejected(rig, 2)
    settings = rig.settings("identity")
    assert await retry_letters(_worker(rig), settings, (first["id"],), every=False) == 0
    assert [effect["event_id"] for effect in await rig.effects()] == [first["event_id"]]
    assert await retry_letters(_worker(rig), settings, (first["id"],), every=False) == 0
    assert await retry_letters(_worker(rig), settings, (), every=True) == 0
    assert [letter["state"] for letter in await rig.dead_letters()] == ["retried", "retried"]
    assert len(await rig.effects()) == 2
    assert (await _command(rig, "identity", "dead-letters", "list", "identity")).stdout == ""
    await rig.publish(f"ev.members.thing.{second['tenant_id']}.{uuid.uuid4()}", second["raw"])
    await rig.consumer()
    await asyncio.sleep(1)
    assert len(await rig.effects()) == 2, "the inbox knows it"


async def test_a_dead_letter_that_fails_again_stays_open(rig: Rig) -> None:
    [letter] = await _rejected(rig, 1)
    assert await retry_letters(_worker(rig, _reject), rig.settings("identity"), (letter["id"],), every=False) == 1
    assert [letter["state"] for letter in await rig.dead_letters()] == ["open"]


async def test_an_unreadable_dead_letter_stays_open_until_it_can_be_read(rig: Rig) -> None:
    await rig.consumer()
    await rig.publish(f"ev.members.thing.{rig.tenant}.{uuid.uuid4()}", b"{}")
    await until(lambda: _letters(rig, 1))
    assert await retry_letters(_worker(rig), rig.settings("identity"), (), every=True) == 1


async def test_a_dropped_dead_letter_has_no_effect_and_is_not_retried(rig: Rig) -> None:
    dropped, other = await _rejected(rig, 2)
    result = await _command(rig, "identity", "dead-letters", "drop", "identity", str(dropped["id"]))
    assert (result.exit_code, result.stdout) == (0, f"{dropped['id']} dropped\n")
    assert await retry_letters(_worker(rig), rig.settings("identity"), (dropped["id"],), every=False) == 0
    assert await retry_letters(_worker(rig), rig.settings("identity"), (), every=True) == 0
    assert [effect["event_id"] for effect in await rig.effects()] == [other["event_id"]]
    assert [letter["state"] for letter in await rig.dead_letters()] == ["dropped", "retried"]


@pytest.mark.parametrize("words", [(), ("--all", str(uuid.uuid4()))])
async def test_which_dead_letters_has_to_be_said(rig: Rig, words: tuple[str, ...]) -> None:
    result = await _command(rig, "identity", "dead-letters", "drop", "identity", *words)
    assert result.exit_code == 2
    assert "Name the ids, or say --all." in result.stderr


async def test_republished_events_grow_the_stream_and_have_no_second_effect(rig: Rig) -> None:
    row_id = uuid.uuid4()
    await rig.relay()
    await rig.consumer()
    for version in range(1, 21):
        await rig.record(version, row_id=row_id, version=version)
    await until(lambda: _effects(rig, 20))
    await until(lambda: _all_published(rig))
    result = await _command(rig, "members", "events", "republish", "members", "--from", "2020-01-01")
    assert result.exit_code == 0, result.output
    assert "20 events sent again." in result.stdout
    messages = await rig.stream()
    assert len(messages) == 40
    assert inversions(messages[20:]) == 0
    await asyncio.sleep(1)
    assert len(await rig.effects()) == 20


async def test_republish_takes_a_time_a_tenant_or_a_type(rig: Rig) -> None:
    acme, globex = uuid.uuid4(), uuid.uuid4()
    for tenant in (acme, acme, globex):
        await rig.record(tenant=tenant)
    bus, now = await rig.bus("members"), datetime.now(UTC)

    async def again(since: datetime, until: datetime, **only: Any) -> int:
        return await republish("members", rig.members.relay, bus, since=since, until=until, **only)

    assert await again(now - HOUR, now + HOUR) == 0, "what was never published is the relay's"
    await rig.relay()
    await until(lambda: _all_published(rig))
    assert await again(now - HOUR, now + HOUR) == 3
    assert await again(now - HOUR, now + HOUR, tenant=acme) == 2
    assert await again(now - HOUR, now + HOUR, tenant=acme, type=Happened.name) == 2
    assert await again(now - HOUR, now + HOUR, type="members.member.saved.v1") == 0
    assert await again(now + HOUR, now + 2 * HOUR) == 0
    assert await again(now - 2 * HOUR, now - HOUR) == 0


async def test_after_a_stream_was_lost_republish_brings_everything_to_those_who_missed_it(rig: Rig) -> None:
    await rig.relay()
    early = [await rig.record(n) for n in range(10)]
    await until(lambda: _all_published(rig))
    consumer = await rig.consumer()
    await until(lambda: _effects(rig, 10))
    consumer.stop()
    late = [await rig.record(n) for n in range(10)]
    await until(lambda: _all_published(rig))
    platform = await rig.bus("platform")
    await platform.js.delete_stream("EV_MEMBERS")
    await declare(platform)
    now = datetime.now(UTC)
    assert await republish("members", rig.members.relay, await rig.bus("members"), since=now - HOUR, until=now) == 20
    await rig.consumer()
    await until(lambda: _effects(rig, 20))
    await asyncio.sleep(0.5)
    assert sorted(effect["event_id"] for effect in await rig.effects()) == sorted(early + late)


@pytest.mark.parametrize("sizes", [Sizes(max_bytes=64 * MIB, ack_wait=7)])
async def test_streams_declare_is_safe_to_repeat_and_refuses_a_difference(rig: Rig) -> None:
    url, size = rig.nats.urls["platform"], str(rig.sizes.max_bytes)
    result = await _command(rig, "members", "streams", "declare", NATS_URL=url, NATS_STREAM_BYTES=size)
    assert result.exit_code == 1, "another wait for an acknowledgement than the rig's"
    assert "ack_wait is 7.0, declared 30" in result.stderr
    result = await _command(rig, "members", "streams", "declare", "--update", NATS_URL=url, NATS_STREAM_BYTES=size)
    assert result.exit_code == 0
    assert result.stdout.count("updated") > 5
    result = await _command(rig, "members", "streams", "declare", NATS_URL=url, NATS_STREAM_BYTES=size)
    assert (result.exit_code, result.stdout) == (0, "Everything is as declared.\n")
    result = await _command(rig, "members", "streams", "declare", NATS_URL=url, NATS_STREAM_BYTES=str(32 * MIB))
    assert result.exit_code == 1
    assert "max_bytes is 67108864, declared 33554432" in result.stderr


async def test_a_broker_that_is_not_there_is_a_plain_sentence(rig: Rig) -> None:
    rig.nats.kill()
    result = await _command(rig, "members", "streams", "declare", NATS_URL="nats://platform:hush@127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: No connection to NATS at 127.0.0.1:1 as platform: ")
    assert "hush" not in result.stderr
    assert "Traceback" not in result.stderr


async def test_the_audit_of_all_tenants_is_verified(rig: Rig) -> None:
    from tests.common.test_audit import chained, note

    acme, globex = uuid.uuid4(), uuid.uuid4()
    for tenant in (acme, globex):
        for _ in range(3):
            await note(rig, tenant)
        await chained(rig, tenant)
    result = await _command(rig, "members", "audit", "verify", "members")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("3 entries, 0 to be chained") == 2
    owner = await asyncpg.connect(rig.members.migrate)
    await owner.execute("UPDATE audit SET type = 'x' WHERE tenant_id = $1 AND chained = 2", acme)
    await owner.close()
    result = await _command(rig, "members", "audit", "verify", "members")
    assert result.exit_code == 1
    assert "The audit of 1 tenants was changed." in result.stderr
    result = await _command(rig, "members", "audit", "verify", "members", "--tenant", str(globex))
    assert result.exit_code == 0
