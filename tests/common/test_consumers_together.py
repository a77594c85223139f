"""Consumers take a backlog several events at a time: as if each were alone, and in nobody's way."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.contextvars import get_contextvars

from libs.common.changes import Audit
from libs.common.consumers import TOGETHER
from libs.common.errors import AppError
from libs.common.inlets import Inlet, Received, Rejected, caused_by, on, on_all
from libs.common.traces import current_trace_id
from tests.common.deliveries import envelope, had, quiet, subject_of
from tests.common.rig import Happened, Rig, keep, until


async def test_a_backlog_is_taken_several_events_in_a_transaction(rig: Rig) -> None:
    """What stands in one tenant, in the stream's order; of each event once, also where it came twice at once."""
    other = uuid.uuid4()
    events = [(tenant, uuid.uuid4()) for tenant in [rig.tenant, other] for _ in range(40)]
    bodies = [(subject_of(tenant, row_id), envelope(tenant, row_id)) for tenant, row_id in events]
    for subject, body in bodies + bodies[:5]:
        await rig.publish(subject, body)
    for subject, body in bodies[-5:] * 2:
        await rig.publish(subject, body)
    await rig.consumer()
    await until(lambda: quiet(rig))
    effects = await rig.effects()
    assert sorted((effect["tenant_id"], effect["row_id"]) for effect in effects) == sorted(events)
    for tenant in (rig.tenant, other):
        together = [effect["transaction"] for effect in effects if effect["tenant_id"] == tenant]
        assert len(set(together)) < len(together)


async def test_while_a_load_is_being_done_the_next_one_gathers(rig: Rig) -> None:
    """The first event is not kept waiting for others; those that came meanwhile share a transaction."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait_then_keep(session: AsyncSession, event: Received[Happened]) -> None:
        begun.set()
        await go_on.wait()
        await keep(session, event)

    await rig.consumer(on(Happened, wait_then_keep))
    await rig.publish(subject_of(rig.tenant, uuid.uuid4()), envelope(rig.tenant, uuid.uuid4()))
    await begun.wait()
    for _ in range(10):
        await rig.publish(subject_of(rig.tenant, uuid.uuid4()), envelope(rig.tenant, uuid.uuid4()))
    await until(lambda: _delivered(rig, 11))
    go_on.set()
    await until(lambda: quiet(rig))
    transactions = [effect["transaction"] for effect in await rig.effects()]
    assert sorted(transactions.count(one) for one in set(transactions)) == [1, 10]


async def test_a_tenant_whose_load_takes_long_gets_a_second_hand_and_keeps_nobody_waiting(rig: Rig) -> None:
    slow, other, go_on = uuid.uuid4(), uuid.uuid4(), asyncio.Event()

    async def wait_then_keep(session: AsyncSession, event: Received[Happened]) -> None:
        if event.row_id == slow:
            await go_on.wait()
        await keep(session, event)

    await rig.consumer(on(Happened, wait_then_keep))
    await rig.publish(subject_of(rig.tenant, slow), envelope(rig.tenant, slow))
    await rig.publish(subject_of(other, other), envelope(other, other))
    for _ in range(2 * TOGETHER):
        row_id = uuid.uuid4()
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id))
    await until(lambda: had(rig, 1 + TOGETHER))
    assert slow not in {effect["row_id"] for effect in await rig.effects()}
    go_on.set()
    await until(lambda: had(rig, 2 + 2 * TOGETHER))
    await until(lambda: quiet(rig))


async def _delivered(rig: Rig, number: int) -> bool:
    platform = await rig.bus("platform")
    info = await platform.js.consumer_info("EV_MEMBERS", "identity")
    await platform.close()
    return int(info.num_ack_pending) >= number


async def test_a_handler_for_all_gets_those_that_came_together_of_each_row_one(rig: Rig) -> None:
    """In their order; and what each of them causes belongs to its trace."""
    loads: list[list[tuple[uuid.UUID, int]]] = []
    traces: dict[uuid.UUID, str] = {}

    async def keep_all(session: AsyncSession, events: Sequence[Received[Happened]]) -> None:
        loads.append([(event.row_id, event.row_version) for event in events])
        for event in events:
            with caused_by(event):
                traces[event.id] = current_trace_id()
                await keep(session, event)

    rows = [uuid.uuid4() for _ in range(4)]
    events = [(row_id, version, f"{version}{number}" * 16) for version in (1, 2) for number, row_id in enumerate(rows)]
    database = rig.database(rig.identity.app)
    inlet = Inlet("EV_MEMBERS", [on_all(Happened, keep_all)], database)
    read = [
        inlet.read(envelope(rig.tenant, row_id, version, traceparent=f"00-{trace}-00f067aa0ba902b7-01"))
        for row_id, version, trace in events
    ]
    received = [event for event in read if event is not None]
    assert await inlet.apply_together(received) == 8
    assert loads == [[(row_id, 1) for row_id in rows], [(row_id, 2) for row_id in rows]]
    assert [traces[event.id] for event in received] == [trace for _, _, trace in events]
    assert len({effect["transaction"] for effect in await rig.effects()}) == 1
    assert await inlet.apply(received[0]) is False, "seen"


async def test_an_event_that_fails_takes_none_of_those_with_it_that_came_together(rig: Rig) -> None:
    tried = 0

    async def keep_but_the_third(session: AsyncSession, event: Received[Happened]) -> None:
        nonlocal tried
        tried += 1
        await keep(session, event)
        if event.row_version == 3:
            raise Rejected("not this one")

    rows = [uuid.uuid4() for _ in range(10)]
    for version, row_id in enumerate(rows):
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id, version))
    await rig.consumer(on(Happened, keep_but_the_third), hands=1)
    await until(lambda: quiet(rig))
    assert sorted(effect["row_version"] for effect in await rig.effects()) == [0, 1, 2, *range(4, 10)]
    assert tried > 10, "at first they were tried together"
    [letter] = await rig.dead_letters()
    assert (letter["error"], letter["deliveries"]) == ("Rejected: not this one", 1)


@pytest.mark.parametrize("busy", [0.2, 0.9], ids=["waiting", "slow"])
async def test_several_events_give_way_to_a_request_that_locks_in_another_order(rig: Rig, busy: float) -> None:
    """Of two that wait for each other the database would end one after a second: never the request."""
    first, last = uuid.uuid4(), uuid.uuid4()

    async def hold(session: AsyncSession, event: Received[Happened]) -> None:
        await session.execute(_ADVISORY, {"row": str(event.row_id)})
        if event.row_id == first:
            reached.set()
            await asyncio.sleep(busy)
        await keep(session, event)

    reached = asyncio.Event()
    for row_id in (first, last):
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id))
    database = rig.database(rig.identity.app)
    async with database.session(rig.tenant) as request:
        await request.execute(_ADVISORY, {"row": str(last)})
        await rig.consumer(on(Happened, hold), hands=1)
        await reached.wait()
        await request.execute(_ADVISORY, {"row": str(first)})
    await until(lambda: had(rig, 2))
    assert await rig.dead_letters() == []


async def test_who_holds_a_row_keeps_no_other_tenant_waiting(rig: Rig) -> None:
    """A stalled request, say: what needs its row comes again later, and what stands behind that goes on."""
    held, other, free = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()

    async def hold(session: AsyncSession, event: Received[Happened]) -> None:
        await session.execute(_ADVISORY, {"row": str(event.tenant_id)})
        await keep(session, event)

    database = rig.database(rig.identity.app)
    async with database.session(rig.tenant) as request:
        await request.execute(_STALLED)
        await request.execute(_ADVISORY, {"row": str(rig.tenant)})
        for _ in range(20):
            await rig.publish(subject_of(rig.tenant, held), envelope(rig.tenant, held))
        await rig.publish(subject_of(other, free), envelope(other, free))
        await rig.consumer(on(Happened, hold), hands=1)
        await until(lambda: had(rig, 1), within=30)
        assert [effect["tenant_id"] for effect in await rig.effects()] == [other]
    await until(lambda: had(rig, 21))
    assert await rig.dead_letters() == []


async def test_an_error_that_keeps_what_a_request_wrote_keeps_nothing_of_events(rig: Rig) -> None:
    class Kept(AppError):
        keep = True

    async def refuse_the_third(session: AsyncSession, event: Received[Happened]) -> None:
        await keep(session, event)
        if event.row_version == 3 and refusing:
            refusing.pop()
            raise Kept

    refusing = [True, True]
    rows = [uuid.uuid4() for _ in range(6)]
    for version, row_id in enumerate(rows):
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id, version))
    await rig.consumer(on(Happened, refuse_the_third), hands=1)
    await until(lambda: quiet(rig))
    assert sorted(effect["row_version"] for effect in await rig.effects()) == [*range(6)]


async def test_what_is_in_hand_is_given_back_when_the_worker_stops(rig: Rig) -> None:
    row_id = uuid.uuid4()
    database = rig.database(rig.identity.app)

    async def hold(session: AsyncSession, event: Received[Happened]) -> None:
        await session.execute(_ADVISORY, {"row": str(row_id)})
        await keep(session, event)

    for version in range(16):
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id, version))
    consumer = await rig.consumer(on(Happened, hold), hands=1, run=False)
    async with database.session(rig.tenant) as request:
        await request.execute(_STALLED)
        await request.execute(_ADVISORY, {"row": str(row_id)})
        running = asyncio.create_task(consumer.run())
        await asyncio.sleep(0.3)
        consumer.stop()
        async with asyncio.timeout(2.5):
            await running
    await rig.consumer(on(Happened, hold))
    await until(lambda: had(rig, 16))


_STALLED = text("SET LOCAL idle_in_transaction_session_timeout = 0")
_ADVISORY = text("SELECT pg_advisory_xact_lock(hashtext(:row))")


async def test_what_a_handler_logs_names_the_tenant_and_the_event(rig: Rig) -> None:
    """Also of those that are taken together."""
    bound: list[dict[str, Any]] = []

    async def look(session: AsyncSession, event: Received[Happened]) -> None:
        bound.append(get_contextvars() | {"row_version": event.row_version})

    for version in range(3):
        row_id = uuid.uuid4()
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id, version))
    await rig.consumer(on(Happened, look), hands=1)
    await until(lambda: quiet(rig))
    assert [one["row_version"] for one in bound] == [0, 1, 2]
    assert {one["tenant_id"] for one in bound} == {str(rig.tenant)}
    assert len({one["event_id"] for one in bound}) == 3


async def test_no_handler_sees_what_another_read_before_it_had_the_lock(rig: Rig) -> None:
    """Two events in a transaction are as two transactions: nothing is kept between them but the database."""
    seen: list[int] = []
    kept: list[Audit] = []

    async def look(session: AsyncSession, event: Received[Happened]) -> None:
        seen.append(len(session.identity_map) + len(session.new))
        kept.append(Audit(tenant_id=event.tenant_id, actor_kind="system", actor_id=event.tenant_id, **_NOTED))
        session.add(kept[-1])

    rows = [uuid.uuid4() for _ in range(5)]
    for row_id in rows:
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id))
    await rig.consumer(on(Happened, look), hands=1)
    await until(lambda: quiet(rig))
    assert seen == [0] * 5
    assert len({audit.created_at for audit in kept}) < 5, "some of them in one transaction"


_NOTED = {"session_id": "", "row_id": uuid.uuid4(), "type": "noted", "details": {}}
