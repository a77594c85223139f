"""T-14: only the ways that there are, each by compare-and-set; what is over stays over."""

import asyncio
import itertools
import random
import uuid
from typing import Any, get_args

import pytest
from sqlalchemy import select

from libs.common.db import now
from libs.common.events.notifier import MailState
from services.notifier.bounces.reports import Report
from services.notifier.bounces.rules import take_report
from services.notifier.messages.moves import Step, move
from services.notifier.messages.states import EDGES, FINAL, IllegalStep, require_step
from services.notifier.messages.tables import Message
from services.notifier.suppressions.rules import suppress_bounced, take_off
from services.notifier.suppressions.tables import Suppression
from tests.notifier.post import Member, Post


def test_every_state_has_its_ways_and_every_way_ends_in_a_state() -> None:
    assert set(EDGES) == set(get_args(MailState))
    assert {to for ways in EDGES.values() for to in ways} <= set(EDGES)
    assert {"bounced", "complained", "expired", "failed", "cancelled"} == FINAL
    assert all("sending" not in EDGES[state] for state in ("sent", "delivered", "suppressed", *FINAL))


@pytest.mark.parametrize("old", list(EDGES))
@pytest.mark.parametrize("new", list(EDGES))
def test_a_way_that_is_not_there_is_a_mistake_of_ours(old: MailState, new: MailState) -> None:
    if new in EDGES[old]:
        require_step(old, new)
    else:
        with pytest.raises(IllegalStep):
            require_step(old, new)


async def test_of_two_that_move_a_message_one_does(post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    await post.invite(bob)
    message = await post.message(bob)

    async def try_to(state: MailState) -> bool:
        async with post.database.session(nord) as session:
            return await move(session, message, Step(state=state, reason="revoked", due_at=now()))

    moved = await asyncio.gather(*(try_to(state) for state in ("cancelled", "expired", "suppressed", "failed") * 5))
    assert sum(moved) == 1
    assert len(await post.told(bob)) == 2
    assert (await post.message(bob)).version == 2


@pytest.mark.parametrize("round_", range(20))
async def test_sending_races_with_withdrawing(post: Post, nord: uuid.UUID, round_: int) -> None:
    """Either it was on its way, or it stays unsent: never cancelled and sent."""
    bob = await post.add(nord)
    await post.invite(bob)
    await asyncio.gather(post.sender.send_due(), post.end(bob, "revoked"))
    message, mails = await post.message(bob), post.catcher.messages(bob.email)
    assert (message.state, len(mails)) in [("sent", 1), ("cancelled", 0)]


ANSWERS: list[dict[str, Any]] = [
    {"action": "reply", "code": 451},
    {"action": "reply", "code": 550, "enhanced": "5.7.1"},
    {"action": "reply", "code": 550, "enhanced": "5.1.1"},
    {"action": "drop"},
    {"action": "drop", "record": False},
]


@pytest.mark.parametrize("seed", range(15))
async def test_a_random_life_takes_only_the_ways_there_are(post: Post, nord: uuid.UUID, seed: int) -> None:
    """Faults, reports, withdrawals, releases in any order; after each step the message is where a way leads."""
    chance = random.Random(seed)
    bob = await post.add(nord)
    await post.invite(bob)
    for _ in range(12):
        await _something_happens(post, bob, chance)
    post.catcher.behave()
    states = [state for state, _ in await post.told(bob)]
    message = await post.message(bob)
    assert states[0] == "queued"
    assert states[-1] == message.state
    for old, new in itertools.pairwise(states):
        on_its_way = "sending" in EDGES[old] and new in EDGES["sending"]  # type: ignore[index]
        assert new in EDGES[old] or on_its_way, states  # type: ignore[index]
        assert old not in FINAL
    attempts = await post.attempts(message)
    assert len(attempts) == message.attempts
    assert all(attempt.ended_at for attempt in attempts)
    assert message.uncertain == sum(attempt.outcome == "uncertain" for attempt in attempts) <= 2
    mails = post.catcher.messages(bob.email)
    assert len(mails) <= 1 + message.uncertain
    assert len({mail["message_id"] for mail in mails}) <= 1


async def _something_happens(post: Post, bob: Member, chance: random.Random) -> None:
    message = await post.message(bob)
    match chance.choice(("send", "send", "send", "report", "hold", "release", "withdraw")):
        case "send":
            post.catcher.behave(*chance.sample(ANSWERS, chance.choice((0, 1))))
            if message.due_at:
                await post.make_due(message)
            await post.sender.send_due()
        case "report":
            kind: Any = chance.choice(("delivered", "failed", "delayed", "complained"))
            async with post.database.session(bob.tenant_id) as session:
                await take_report(session, message.id, Report(kind, "5.1.1", "no such user"), chance.randbytes(8))
        case "hold":
            async with post.database.session(bob.tenant_id) as session:
                await suppress_bounced(session, message, "x")
        case "release":
            async with post.database.session(bob.tenant_id) as session:
                for held in await session.scalars(select(Suppression).where(Suppression.lifted_at.is_(None))):
                    await take_off(session, held, by="test")
        case "withdraw":
            if chance.random() < 0.2:
                await post.end(bob, "revoked")
    assert isinstance(await post.message(bob), Message)
