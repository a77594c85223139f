"""Consumers take a backlog several events at a time: as if each were alone, and in nobody's way."""

import asyncio
import uuid
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.contextvars import get_contextvars

from libs.common.changes import Audit
from libs.common.consumers import Received, Rejected, on
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
    assert len({effect["transaction"] for effect in effects}) <= 40
    for tenant in (rig.tenant, other):
        together = [effect["transaction"] for effect in effects if effect["tenant_id"] == tenant]
        assert len(set(together)) < len(together)


async def test_an_event_that_fails_takes_none_of_those_with_it_that_came_together(rig: Rig) -> None:
    async def keep_but_the_third(session: AsyncSession, event: Received[Happened]) -> None:
        await keep(session, event)
        if event.row_version == 3:
            raise Rejected("not this one")

    rows = [uuid.uuid4() for _ in range(10)]
    for version, row_id in enumerate(rows):
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id, version))
    await rig.consumer(on(Happened, keep_but_the_third), coroutines=1)
    await until(lambda: quiet(rig))
    assert sorted(effect["row_version"] for effect in await rig.effects()) == [0, 1, 2, *range(4, 10)]
    [letter] = await rig.dead_letters()
    assert (letter["error"], letter["deliveries"]) == ("Rejected: not this one", 1)


async def test_several_events_give_way_to_a_request_that_locks_in_another_order(rig: Rig) -> None:
    """Of two that wait for each other the database would end one after a second: never the request."""
    first, last = uuid.uuid4(), uuid.uuid4()

    async def hold(session: AsyncSession, event: Received[Happened]) -> None:
        await session.execute(_ADVISORY, {"row": str(event.row_id)})
        if event.row_id == first:
            reached.set()
            await asyncio.sleep(0.2)
        await keep(session, event)

    reached = asyncio.Event()
    for row_id in (first, last):
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id))
    database = rig.database(rig.identity.app)
    async with database.session(rig.tenant) as request:
        await request.execute(_ADVISORY, {"row": str(last)})
        await rig.consumer(on(Happened, hold), coroutines=1)
        await reached.wait()
        await request.execute(_ADVISORY, {"row": str(first)})
    await until(lambda: had(rig, 2))
    assert await rig.dead_letters() == []


_ADVISORY = text("SELECT pg_advisory_xact_lock(hashtext(:row))")


async def test_what_a_handler_logs_names_the_tenant_and_the_event(rig: Rig) -> None:
    """Also of those that are taken together."""
    bound: list[dict[str, Any]] = []

    async def look(session: AsyncSession, event: Received[Happened]) -> None:
        bound.append(get_contextvars() | {"row_version": event.row_version})

    for version in range(3):
        row_id = uuid.uuid4()
        await rig.publish(subject_of(rig.tenant, row_id), envelope(rig.tenant, row_id, version))
    await rig.consumer(on(Happened, look), coroutines=1)
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
    await rig.consumer(on(Happened, look), coroutines=1)
    await until(lambda: quiet(rig))
    assert seen == [0] * 5


_NOTED = {"session_id": "", "row_id": uuid.uuid4(), "type": "noted", "details": {}}
