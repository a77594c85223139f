"""The facts machine driven at random on real PostgreSQL, with identity's answers late, repeated and out of order.

A small model of identity accepts, lets expire, declines and ends; its answers lie in a bag and are taken out in any
order, some of them twice. After every step: seats are the formula over facts, counters never fall, identity was told
what is wanted, and the history explains every state.
"""

import asyncio
import contextlib
import os
import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import Audit, Event, Outbox
from libs.common.db import Database, now
from libs.common.errors import AppError
from libs.common.events import identity
from libs.common.inlets import Received
from libs.common.roles import Urls
from libs.common.tokens import Actor
from services.members import facts as f
from services.members.access import rules as access
from services.members.blocks import rules as blocks
from services.members.deletion import rules as deletion
from services.members.facts import Action, Facts
from services.members.people.tables import Member
from services.members.tenants.tables import Tenant
from tests.conftest import UrlsOf
from tests.members.conftest import Answers, make_tenant, staff
from tests.members.test_races import add

EXAMPLES = int(os.environ.get("EXAMPLES", "12"))
PEOPLE = st.integers(0, 1)
COUNTERS = ("generation", "epoch", "cut", "access_version", "profile_version")


async def invite(session: AsyncSession, actor: Actor, id: uuid.UUID, _: int) -> None:
    await access.invite(session, actor, id)


async def readdress(session: AsyncSession, actor: Actor, id: uuid.UUID, _: int) -> None:
    await access.readdress(session, actor, id, email=f"new-{uuid.uuid4().hex}@example.org")


async def revoke(session: AsyncSession, actor: Actor, id: uuid.UUID, _: int) -> None:
    await access.revoke(session, actor, id)


async def lock(session: AsyncSession, actor: Actor, id: uuid.UUID, _: int) -> None:
    await blocks.lock(session, actor, id, until=now() + timedelta(hours=1), reason=None)


async def unlock(session: AsyncSession, actor: Actor, id: uuid.UUID, _: int) -> None:
    await blocks.unlock(session, actor, id)


async def deactivate(session: AsyncSession, actor: Actor, id: uuid.UUID, _: int) -> None:
    await blocks.deactivate(session, actor, id)


async def reactivate(session: AsyncSession, actor: Actor, id: uuid.UUID, _: int) -> None:
    await blocks.reactivate(session, actor, id)


async def mark_deleted(session: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> None:
    await deletion.mark_deleted(session, actor, id, version=version)


async def restore(session: AsyncSession, actor: Actor, id: uuid.UUID, _: int) -> None:
    await deletion.restore(session, actor, id)


COMMANDS = {
    Action.INVITE: invite,
    Action.READDRESS: readdress,
    Action.REVOKE: revoke,
    Action.LOCK: lock,
    Action.UNLOCK: unlock,
    Action.DEACTIVATE: deactivate,
    Action.REACTIVATE: reactivate,
    Action.DELETE: mark_deleted,
    Action.RESTORE: restore,
}


class Identity:
    """What identity would do with what it was told: at most one open generation, one membership an epoch."""

    def __init__(self) -> None:
        self.access_version = self.epoch = self.generation = 0
        self.open: int | None = None
        self.active = False

    def hear(self, id: uuid.UUID, told: dict[str, Any]) -> list[Event]:
        """Its answers. Older news is dropped."""
        if told["access_version"] <= self.access_version:
            return []
        self.access_version = told["access_version"]
        answers: list[Event] = []
        if told["epoch"] > self.epoch:
            if self.active:
                answers.append(identity.MembershipEnded(member_id=id, epoch=self.epoch, holder=1))
            if self.open is not None:
                answers.append(self._ended(id, "revoked"))
            self.epoch, self.open, self.active = told["epoch"], None, False
        if told["want"] == "invited" and told["generation"] > self.generation:
            self.generation = told["generation"]
            if self.active:
                answers.append(self._activated(id))
            else:
                if self.open is not None:
                    answers.append(self._ended(id, "replaced"))
                self.open = told["generation"]
        return answers

    def end(self, id: uuid.UUID, reason: Any) -> list[Event]:
        """A click, or the clock, on the newest link."""
        if self.open is None:
            return []
        answers: list[Event] = [self._ended(id, reason)]
        self.open = None
        if reason == "accepted":
            self.active = True
            answers.append(self._activated(id))
        return answers

    def _ended(self, id: uuid.UUID, reason: Any) -> Event:
        generation = self.open or 0
        return identity.InvitationEnded(
            invitation_id=id, member_id=id, epoch=self.epoch, generation=generation, reason=reason
        )

    def _activated(self, id: uuid.UUID) -> Event:
        return identity.MembershipActivated(
            member_id=id, epoch=self.epoch, generation=self.generation, holder=1, way="mail"
        )


class Machine(RuleBasedStateMachine):
    database: Database
    run: Any  # a coroutine to its result

    @initialize(seats=st.integers(2, 3))
    def start(self, seats: int) -> None:
        self.tenant = self.run(make_tenant(self.database, seats=seats))
        self.actor = staff(self.tenant)
        self.people = [self.run(add(self.database, self.actor, f"p{n}")) for n in range(3)]
        self.identities = [Identity() for _ in self.people]
        self.answers = Answers(self.database)
        self.bag: list[Received[Any]] = []
        self.news: list[tuple[int, dict[str, Any]]] = []
        self.seen_events = 0
        self.counters: dict[uuid.UUID, tuple[int, ...]] = {}
        self.collect()

    # Commands

    @rule(who=PEOPLE, data=st.data())
    def command(self, who: int, data: st.DataObject) -> None:
        """One of those that are possible now; test_facts tries the others."""
        standing = self.row(who).standing(self.actor.id)
        possible = [action for action in COMMANDS if f.refusal(action, standing) is None]
        self.do(who, COMMANDS[data.draw(st.sampled_from(possible))])

    @rule(who=PEOPLE, starts=st.sampled_from([None, -2, 2]), ends=st.sampled_from([None, None, -1, 3]))
    def set_dates(self, who: int, starts: int | None, ends: int | None) -> None:
        days = [None if n is None else now() + timedelta(days=n) for n in (starts, ends)]

        async def command(session: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> None:
            await blocks.set_dates(session, actor, id, starts_at=days[0], ends_at=days[1], version=version)

        self.do(who, command)

    @rule(who=PEOPLE, accepts=st.booleans())
    def invite_and_click(self, who: int, accepts: bool) -> None:
        """The straight way to where answers are on their way."""
        self.do(who, COMMANDS[Action.INVITE])
        while self.news:
            somebody, told = self.news.pop(0)
            self.put(self.identities[somebody].hear(self.people[somebody], told))
        self.somebody_clicks(who, "accepted" if accepts else "expired")

    @rule(who=PEOPLE)
    def revoke_and_invite(self, who: int) -> None:
        self.do(who, COMMANDS[Action.REVOKE])
        self.do(who, COMMANDS[Action.INVITE])

    @rule(who=PEOPLE)
    def time_passes(self, who: int) -> None:
        """Whatever would be due next for her is due now."""
        past = now() - timedelta(seconds=1)
        member = self.row(who)
        if member.due_at is None:
            return
        moved = {
            name: past
            for name in ("locked_until", "starts_at", "ends_at", "login_due_at")
            if getattr(member, name) == member.due_at
        }

        async def strike() -> None:
            async with self.database.session(self.tenant) as session:
                await session.execute(update(Member).where(Member.id == member.id).values(**moved, due_at=past))
            async with self.database.session(self.tenant) as session:
                await blocks.strike(session, self.tenant, member.id)

        self.run(strike())
        self.collect()

    # identity

    @precondition(lambda self: self.news)
    @rule(data=st.data())
    def identity_hears(self, data: st.DataObject) -> None:
        """One of the events, not always the oldest, and perhaps not for the last time."""
        who, told = self.news[data.draw(st.integers(0, len(self.news) - 1))]
        if data.draw(st.booleans()):
            self.news.remove((who, told))
        self.put(self.identities[who].hear(self.people[who], told))

    @rule(who=PEOPLE, reason=st.sampled_from(["accepted", "accepted", "expired", "declined"]))
    def somebody_clicks(self, who: int, reason: str) -> None:
        self.put(self.identities[who].end(self.people[who], reason))

    @precondition(lambda self: self.bag)
    @rule(data=st.data())
    def an_answer_arrives(self, data: st.DataObject) -> None:
        received = self.bag[data.draw(st.integers(0, len(self.bag) - 1))]
        if data.draw(st.booleans()):
            self.bag.remove(received)
        self.run(self.answers.deliver(received))
        self.collect()

    def teardown(self) -> None:
        """Every event arrives in the end: then members and identity agree."""
        if not hasattr(self, "people"):
            return
        while self.news or self.bag:
            while self.news:
                who, told = self.news.pop()
                self.put(self.identities[who].hear(self.people[who], told))
            while self.bag:
                self.run(self.answers.deliver(self.bag.pop()))
                self.collect()
        for who, peer in enumerate(self.identities):
            member = self.row(who)
            assert peer.access_version == member.access_version
            assert peer.epoch == member.epoch
            assert peer.active == (member.access == "active")
            assert (peer.open is not None) == (member.access == "invited")
            assert peer.open in (None, member.generation)
        self.everything_agrees()

    # What always holds

    @precondition(lambda self: hasattr(self, "people"))
    @invariant()
    def everything_agrees(self) -> None:
        tenant, members, history = self.run(self.load())
        held = [f.seat(member.facts) for member in members]
        assert (tenant.seats_used, tenant.seats_reserved) == (held.count("used"), held.count("reserved"))
        assert tenant.seats_used + tenant.seats_reserved <= tenant.seat_limit
        for member in members:
            assert member.column == f.column(member.facts)
            assert member.guidance == f.guidance(member.facts, member.mail_state).code
            self.counters_never_fall(member)
            explain(member, history.get(member.id, []), moved=_MOVED)

    def counters_never_fall(self, member: Member) -> None:
        found = tuple(getattr(member, name) for name in COUNTERS)
        before = self.counters.get(member.id, found)
        assert all(new >= old for new, old in zip(found, before, strict=True))
        self.counters[member.id] = found

    # Helpers

    def do(self, who: int, command: Any) -> None:
        async def act() -> None:
            with contextlib.suppress(AppError):
                async with self.database.session(self.tenant) as session:
                    await command(session, self.actor, self.people[who], self.row_version)

        self.row_version = self.row(who).version
        self.run(act())
        self.collect()

    def put(self, events: list[Event]) -> None:
        for event in events:
            self.bag.append(
                Received(
                    id=uuid.uuid4(),
                    tenant_id=self.tenant,
                    time=now(),
                    row_id=uuid.uuid4(),
                    row_version=0,
                    data=event,
                    traceparent=None,
                )
            )

    def collect(self) -> None:
        """What members has told identity since the last look."""

        async def load() -> list[Outbox]:
            async with self.database.session(self.tenant) as session:
                query = select(Outbox).where(Outbox.type == "members.member.access.v1").order_by(Outbox.sequence)
                return list(await session.scalars(query))

        rows = self.run(load())
        self.news += [
            (self.people.index(row.row_id), row.data) for row in rows[self.seen_events :] if row.row_id in self.people
        ]
        self.seen_events = len(rows)

    async def load(self) -> tuple[Tenant, list[Member], dict[uuid.UUID, list[dict[str, Any]]]]:
        history: dict[uuid.UUID, list[dict[str, Any]]] = {}
        async with self.database.session(self.tenant) as session:
            tenant = (await session.scalars(select(Tenant))).one()
            members = list(await session.scalars(select(Member).order_by(Member.id)))
            for entry in await session.scalars(select(Audit).order_by(Audit.sequence)):
                history.setdefault(entry.row_id, []).append(entry.details or {})
        return tenant, members, history

    def row(self, who: int) -> Member:
        async def load() -> Member:
            async with self.database.session(self.tenant) as session:
                return (await session.scalars(select(Member).where(Member.id == self.people[who]))).one()

        return self.run(load())  # type: ignore[no-any-return]


# time_passes moves these behind the history's back, as no clock does.
_MOVED = ("locked_until", "starts_at", "ends_at", "login_due_at")


def explain(member: Member, history: list[dict[str, Any]], *, moved: Collection[str]) -> None:
    """Each entry begins where the last one ended, and the last one ends where she stands. moved: facts left out."""
    told = Facts()
    for entry in history:
        for name, (was, becomes) in entry.get("changed", {}).items():
            assert name in moved or plain(getattr(told, name)) == was, (name, entry)
            told = msgspec.structs.replace(told, **{name: becomes})
    for name in Facts.__struct_fields__:
        assert name in moved or plain(getattr(told, name)) == plain(getattr(member.facts, name)), name


def plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value


@pytest.mark.timeout(400)
def test_the_facts_machine(urls_of: UrlsOf) -> None:
    """R-03, R-04, R-08, R-25, E-14: whatever happens in whatever order, twice or late, no invariant is violated."""
    with asyncio.Runner() as runner:
        urls: Urls = runner.run(urls_of("members"))  # type: ignore[arg-type]

        class Driven(Machine):
            database = Database(urls.app)
            run = staticmethod(runner.run)

        try:
            run_state_machine_as_test(
                Driven,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=30,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    print_blob=True,
                ),
            )
        finally:
            runner.run(Driven.database.close())
