"""R-28: one address, few invitations a day, whoever invites; and a switch that stops all mail."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from libs.common.db import PLATFORM, now
from services.notifier.limits import rules
from tests.notifier.conftest import As
from tests.notifier.post import Post, in_

MAIL = "/notifier/v1/operator/mail"


async def test_one_address_is_invited_five_times_a_day_over_all_tenants(post: Post) -> None:
    email, invited = f"{uuid.uuid4().hex}@example.test", []
    for _ in range(7):
        tenant = uuid.uuid4()
        await post.open_tenant(tenant)
        invited.append(await post.add(tenant, email))
        await post.invite(invited[-1])
    await post.sender.send_due()
    messages = [await post.message(member) for member in invited]
    assert sorted(message.state for message in messages) == ["deferred"] * 2 + ["sent"] * 5
    for message in messages:
        if message.state == "deferred":
            # One wording and one pause, whatever other tenants did: no oracle.
            assert (message.reason, message.attempts) == ("limited", 0)
            assert message.due_at is not None
            assert abs(message.due_at - in_(hours=1)).total_seconds() < 60
    assert len(post.catcher.messages(email)) == 5


async def test_a_day_later_it_goes_on(post: Post) -> None:
    email, start = f"{uuid.uuid4().hex}@example.test", now()
    async with post.database.session(uuid.uuid4()) as session:
        hours = [0, 1, 2, 3, 4, 5, 23.9, 24, 24.5, 25, 26]
        asked = [bool(await rules.may_invite(session, [email], start + timedelta(hours=hour))) for hour in hours]
    assert asked == [True, True, True, True, True, False, False, True, False, True, True]


async def test_many_at_once_are_counted_right(post: Post) -> None:
    email = f"{uuid.uuid4().hex}@example.test"

    async def ask() -> bool:
        async with post.database.session(uuid.uuid4()) as session:
            return bool(await rules.may_invite(session, [email], now()))

    assert sum(await asyncio.gather(*(ask() for _ in range(30)))) == 5


async def test_a_mail_that_is_tried_again_counts_once(post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    await post.invite(bob)
    post.catcher.behave({"action": "reply", "to": bob.email, "code": 451})
    for _ in range(7):
        await post.sender.send_due()
        await post.make_due(await post.message(bob))
    post.catcher.behave()
    await post.sender.send_due()
    assert (await post.message(bob)).state == "sent"


@pytest.fixture
async def switch(post: Post) -> AsyncIterator[None]:
    yield
    async with post.database.session(PLATFORM) as session:
        await session.execute(text("UPDATE mail_switch SET paused_at = NULL"))


@pytest.mark.usefixtures("switch")
async def test_operators_stop_all_mail_and_nothing_is_lost(as_: As, post: Post, nord: uuid.UUID) -> None:
    operator, bob = as_("operator"), await post.add(nord)
    await post.invite(bob)
    paused = await operator.post(f"{MAIL}/pause", json={"reason": "a campaign of spam"})
    assert (paused.status_code, paused.json()["reason"]) == (200, "a campaign of spam")
    assert await post.sender.send_due() == 0
    assert (await post.message(bob)).state == "queued"
    assert (await operator.get(MAIL)).json()["paused_at"]
    assert (await operator.post(f"{MAIL}/resume")).json() == {"paused_at": None, "paused_by": None, "reason": None}
    await post.sender.send_due()
    assert (await post.message(bob)).state == "sent"


@pytest.mark.usefixtures("switch")
@pytest.mark.parametrize(("who", "status"), [(None, 401), ("admin", 401), ("owner", 401), ("operator", 200)])
async def test_the_switch_is_for_operators(as_: As, who: str | None, status: int) -> None:
    caller = as_(who, uuid.uuid4() if who in ("admin", "owner") else None)
    for answer in (
        await caller.get(MAIL),
        await caller.get(f"{MAIL}/states"),
        await caller.post(f"{MAIL}/pause", json={"reason": "x"}),
        await caller.post(f"{MAIL}/resume"),
    ):
        assert answer.status_code == status


async def test_operators_see_states_and_nobodys_mail(as_: As, post: Post, nord: uuid.UUID) -> None:
    """Design section 5: message states; no member's data, no bodies."""
    bob = await post.add(nord)
    await post.invite(bob)
    await post.sender.send_due()
    answer = await as_("operator").get(f"{MAIL}/states")
    mine: list[Any] = [row for row in answer.json() if row["tenant_id"] == str(nord)]
    assert mine == [{"tenant_id": str(nord), "state": "sent", "messages": 1, "oldest_due_at": None}]
    assert bob.email not in answer.text
    assert (await as_("operator").get("/notifier/v1/messages")).status_code == 401
