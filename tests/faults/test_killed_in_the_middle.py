"""Processes die at the worst moments while somebody is invited: nothing is lost, nothing doubled, and no answer is a
5xx but 503 while a part is away.
"""

import asyncio
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest

from libs.common.events.subjects import SERVICES
from libs.common.stack.stack import Stack
from libs.common.stack.visitor import Visitor
from tests.journeys.world import Tenant, World

PATIENCE = 60.0


def _until_done(visitor: Visitor, method: str, path: str, json: Any, **headers: str) -> Any:
    """Repeat a request until it is answered with success. Only 503 (and a cut connection) may come before."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            answer = visitor.call(method, path, json=json, headers=headers)
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        if answer.is_success:
            return answer.json()
        if answer.status_code == 401:  # a fault takes longer than a token lives
            _take_token(visitor)
            continue
        assert answer.status_code == 503, f"{method} {path}: {answer.status_code} {answer.text}"
        assert "retry-after" in answer.headers
        time.sleep(0.2)
    raise AssertionError(f"{method} {path}: not answered within {PATIENCE:.0f} s")


def _take_token(visitor: Visitor) -> None:
    try:
        visitor.take_token()
    except RuntimeError as refused:
        if ": 503 " not in str(refused):
            raise
        time.sleep(0.2)


def _invite(acme: Tenant, **fields: Any) -> Any:
    """Add and invite, each under an idempotency key, as a careful client does."""
    login = f"m{uuid.uuid4().hex[:10]}"
    said = {"login_name": login, "display_name": "Mia Muster", "email": f"{login}@{acme.slug}.example.org", **fields}
    member = _until_done(acme.owner, "POST", "/members/v1/members", said, **{"Idempotency-Key": f"add-{login}"})
    path = f"/members/v1/members/{member['id']}/invite"
    return _until_done(acme.owner, "POST", path, {}, **{"Idempotency-Key": f"invite-{login}"})


def _revive(stack: Stack, service: str, wait: bool) -> None:
    """Once it has died at its failpoint, start it again without."""
    part = stack[service]
    until = time.monotonic() + PATIENCE
    while wait and not part.has_died():
        assert time.monotonic() < until, f"{service} did not pass the failpoint"
        time.sleep(0.05)
    stack.restart(service)


def _later(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def _settled(stack: Stack, acme: Tenant, member: Any) -> list[Any]:
    """Wait until the invitation has been mailed and all outboxes are empty; gives her messages."""

    def sent() -> Any:
        row = _until_done(acme.owner, "GET", f"/members/v1/members/{member['id']}", None)
        return row if row["account"] == "invitation_sent" else None

    acme.owner.wait(sent, "the invitation to be sent", patience=PATIENCE)
    acme.owner.wait(lambda: asyncio.run(_left_behind(stack)) == (0, 0) or None, "empty outboxes", patience=PATIENCE)
    found: list[Any] = acme.owner.ask("GET", f"/notifier/v1/messages?member_id={member['id']}")["items"]
    return found


async def _left_behind(stack: Stack) -> tuple[int, int]:
    """Events that wait, and events that were set aside, in all services."""
    waiting = dead = 0
    for service in SERVICES:
        connection = await asyncpg.connect(stack.admin_url(service))
        waiting += await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        dead += await connection.fetchval("SELECT count(*) FROM dead_letters")
        await connection.close()
    return waiting, dead


def _require_whole(acme: Tenant, member: Any, messages: list[Any], mails: list[Any], *, twice: bool = False) -> None:
    assert len(messages) == 1
    assert len({mail["message_id"] for mail in mails}) == 1
    assert len(mails) == 1 or (twice and len(mails) == 2 and messages[0]["maybe_twice"])
    assert acme.owner.ask("GET", f"/members/v1/members/{member['id']}")["invitation"]["generation"] == 1


@pytest.mark.parametrize(
    ("service", "failpoint"),
    [
        ("members", "after_record_before_commit"),
        ("members", "after_commit_before_answer"),
        ("members", "after_commit_before_publish"),
        ("members", "after_publish_before_mark"),
        ("members", "after_effect_before_ack"),
        ("identity", "after_commit_before_publish"),
        ("identity", "after_effect_before_ack"),
        ("notifier", "after_effect_before_ack"),
        ("notifier", "after_attempt_before_smtp"),
        ("notifier", "after_smtp_before_result"),
    ],
)
def test_a_process_killed_between_two_steps_loses_and_doubles_nothing(
    stack: Stack, acme: Tenant, service: str, failpoint: str
) -> None:
    """R-25: one message, one mail (two with one Message-ID, flagged, where the relay's answer was lost)."""
    stack.stop(service)
    stack.restart(service, FAILPOINT=f"{failpoint}:signal", MAIL_LEASE_SECONDS="6")
    os.kill(stack.pid(service), signal.SIGUSR1)
    reviving = _later(lambda: _revive(stack, service, wait=True))
    member = _invite(acme)
    reviving.join()
    messages = _settled(stack, acme, member)
    mails = acme.owner.mails(member["email"])
    _require_whole(acme, member, messages, mails, twice=failpoint == "after_smtp_before_result")


@pytest.mark.parametrize("part", ["nats", "postgres", "mail"])
def test_a_part_that_is_killed_costs_time_and_nothing_else(
    stack: Stack, world: World, acme: Tenant, part: str, visitor: Callable[[], Visitor]
) -> None:
    """The story goes on over the death of the broker, the database and the mail server."""

    def die_and_come_back() -> None:
        time.sleep(0.3)
        stack.kill(part)
        time.sleep(2)
        stack.restart(part)

    reviving = _later(die_and_come_back)
    members = [_invite(acme) for _ in range(6)]
    reviving.join()
    members += [_invite(acme) for _ in range(2)]
    for member in members:
        messages = _settled(stack, acme, member)
        mails = acme.owner.mails(member["email"])
        _require_whole(acme, member, messages, mails, twice=True)
    last = visitor()
    world.accept(last, members[-1]["email"], count=1)
    last.sign_in(acme.slug, members[-1]["login_name"], "correct horse battery staple")
    assert last.get("/documents/v1/me").status_code == 200


def test_with_the_broker_away_the_apis_go_on_serving(stack: Stack, acme: Tenant) -> None:
    """Commands are taken while NATS is away, and take effect when it is back."""
    stack.stop("nats")
    try:
        member = _invite(acme)
        assert member["column"] == "invited"
        assert [acme.owner.get(f"/{service}/v1/me").status_code for service in SERVICES] == [200] * 4
    finally:
        stack.restart("nats")
    messages = _settled(stack, acme, member)
    _require_whole(acme, member, messages, acme.owner.mails(member["email"]))
