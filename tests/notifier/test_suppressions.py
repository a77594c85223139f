"""R-24: the list of addresses that no mail goes to, seen and repaired; a failing provider never fills it."""

import csv
import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.changes import Audit
from libs.common.sweeps import sweep_once
from libs.common.text import masked_address
from services.notifier.suppressions import rules
from services.notifier.suppressions.sweeps import SWEEP
from services.notifier.suppressions.tables import Suppression
from tests.notifier.conftest import As
from tests.notifier.post import Member, Post, in_

LIST = "/notifier/v1/suppressions"
NO_SUCH_USER = {"action": "reply", "code": 550, "enhanced": "5.1.1", "text": "No such user"}


async def _bounced(post: Post, tenant: uuid.UUID, email: str = "") -> Member:
    """Invited, and the address is dead."""
    member = await post.add(tenant, email)
    post.catcher.behave({**NO_SUCH_USER, "to": member.email})
    await post.invite(member)
    await post.sender.send_due()
    post.catcher.behave()
    return member


async def _items(as_: As, tenant: uuid.UUID, who: Any = "admin") -> list[dict[str, Any]]:
    return list((await as_(who, tenant).get(LIST)).json()["items"])


@pytest.mark.parametrize(
    ("who", "read", "write"),
    [(None, 401, 401), ("member", 403, 403), ("counsellor", 403, 403), ("coordinator", 200, 201), ("admin", 200, 201)],
)
async def test_the_list_is_for_those_who_may(as_: As, nord: uuid.UUID, who: str | None, read: int, write: int) -> None:
    caller = as_(who, nord)
    assert (await caller.get(LIST)).status_code == read
    assert (await caller.get(f"{LIST}/export")).status_code == read
    assert (await caller.post(LIST, json={"email": "x@example.test", "detail": "moved"})).status_code == write
    lifted = await caller.post(f"{LIST}/{uuid.uuid4()}/lift")
    assert lifted.status_code == (404 if write == 201 else write)


async def test_a_hard_bounce_suppresses_for_this_tenant_only_with_reason_and_end(
    as_: As, post: Post, nord: uuid.UUID
) -> None:
    bob = await _bounced(post, nord)
    (listed,) = await _items(as_, nord)
    assert (listed["email"], listed["reason"], listed["detail"]) == (bob.email, "hard_bounce", "5.1.1 No such user")
    assert in_(days=89).isoformat() < listed["expires_at"] < in_(days=91).isoformat()
    message = await post.message(bob)
    assert (message.state, message.reason, str(message.id)) == ("bounced", "bad_address", listed["message_id"])

    await post.invite(bob)
    await post.sender.send_due()
    held = await post.message(bob)
    assert (held.state, held.reason) == ("suppressed", "hard_bounce")

    globex = uuid.uuid4()
    await post.open_tenant(globex, slug="globex")
    other = await post.add(globex, bob.email)
    await post.invite(other)
    await post.sender.send_due()
    assert (await post.message(other)).state == "sent"
    assert await _items(as_, globex) == []
    assert (await as_("admin", globex).post(f"{LIST}/{listed['id']}/lift")).status_code == 404


async def test_lifting_sends_what_was_held_and_leaves_dead_links_alone(as_: As, post: Post, nord: uuid.UUID) -> None:
    bob = await _bounced(post, nord)
    await post.invite(bob)
    await post.invite(bob)
    await post.sender.send_due()
    (listed,) = await _items(as_, nord)
    lifted = await as_("admin", nord).post(f"{LIST}/{listed['id']}/lift")
    assert lifted.json() == {"released": 1}  # the older generation was cancelled
    await post.sender.send_due()
    assert [message.state for message in await post.messages(bob)] == ["bounced", "cancelled", "sent"]
    assert len(post.catcher.messages(bob.email)) == 1
    assert await _items(as_, nord) == []
    async with post.database.session(nord) as session:
        noted = await session.scalars(select(Audit.type).where(Audit.type.startswith("notifier.suppression")))
        assert noted.all() == ["notifier.suppression.lifted"]


async def test_a_held_mail_expires_with_its_link(post: Post, nord: uuid.UUID) -> None:
    bob = await _bounced(post, nord)
    await post.invite(bob, deadline=in_(seconds=60))
    await post.sender.send_due()
    held = await post.message(bob)
    assert (held.state, held.due_at) == ("suppressed", held.expires_at)
    async with post.database.session(nord) as session:
        await session.execute(text("UPDATE messages SET due_at = now(), expires_at = now() WHERE state = 'suppressed'"))
    await post.sender.send_due()
    assert (await post.message(bob)).state == "expired"


async def test_an_expired_entry_goes_off_the_list_by_itself_and_releases(
    as_: As, post: Post, nord: uuid.UUID, sweeper: AsyncEngine
) -> None:
    bob = await _bounced(post, nord)
    await post.invite(bob)
    await post.sender.send_due()
    async with post.database.session(nord) as session:
        await session.execute(text("UPDATE suppressions SET due_at = now(), expires_at = now()"))
    await sweep_once(SWEEP, post.database, sweeper)
    await post.sender.send_due()
    assert (await post.message(bob)).state == "sent"
    assert await _items(as_, nord) == []


async def test_an_address_is_put_on_the_list_by_hand_once(as_: As, post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    body = {"email": bob.email.upper(), "detail": "asked for it"}
    first, second = [await as_("admin", nord).post(LIST, json=body) for _ in range(2)]
    assert (first.status_code, first.json()["reason"]) == (201, "manual")
    assert (second.status_code, second.json()["code"]) == (409, "already_suppressed")
    await post.invite(bob)
    await post.sender.send_due()
    assert (await post.message(bob)).state == "suppressed"


async def test_addresses_on_the_list_are_masked_for_those_who_may_not_see_them(
    as_: As, post: Post, nord: uuid.UUID
) -> None:
    """A-22"""
    bob = await _bounced(post, nord)
    assert (await _items(as_, nord, "coordinator"))[0]["email"] == masked_address(bob.email)
    export = await as_("coordinator", nord).get(f"{LIST}/export")
    assert bob.email not in export.text
    assert (await as_("coordinator", nord).get(LIST, params={"email": bob.email})).status_code == 403
    assert len((await as_("admin", nord).get(LIST, params={"email": bob.email})).json()["items"]) == 1


async def test_the_export_is_complete_and_no_cell_is_a_formula(as_: As, post: Post, nord: uuid.UUID) -> None:
    admin = as_("admin", nord)
    for number in range(3):
        await admin.post(LIST, json={"email": f"=cmd{number}@example.test", "detail": "@SUM(A1)"})
    export = await admin.get(f"{LIST}/export")
    assert export.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(export.text.splitlines()))
    assert rows[0] == ["email", "reason", "detail", "since", "until"]
    assert [row[0] for row in rows[1:]] == [f"'=cmd{number}@example.test" for number in (2, 1, 0)]
    assert {row[2] for row in rows[1:]} == {"'@SUM(A1)"}
    async with post.database.session(nord) as session:
        noted = select(Audit.type).where(Audit.type == "notifier.suppressions.exported")
        assert len((await session.scalars(noted)).all()) == 1


async def test_a_failing_provider_fills_nobodys_list(
    as_: As, post: Post, nord: uuid.UUID, sweeper: AsyncEngine
) -> None:
    """R-24: one domain, many bounces in ten minutes, over all tenants."""
    domain, globex = f"{uuid.uuid4().hex}.test", uuid.uuid4()
    await post.open_tenant(globex)
    first = await _bounced(post, globex, f"a@{domain}")
    assert len(await _items(as_, globex)) == 1
    members = [await post.add(nord, f"m{number}@{domain}") for number in range(rules.STORM + 5)]
    post.catcher.behave({**NO_SUCH_USER, "to": f"*@{domain}"})
    for member in members:
        await post.invite(member)
    await post.sender.send_due()
    post.catcher.behave()
    assert {(await post.message(member)).state for member in members} == {"bounced"}
    assert await _items(as_, nord) == []
    # In the other tenant it goes off when the ten minutes are over.
    async with post.database.session(globex) as session:
        await session.execute(text("UPDATE suppressions SET due_at = now()"))
    await sweep_once(SWEEP, post.database, sweeper)
    assert await _items(as_, globex) == []
    async with post.database.session(globex) as session:
        (lifted,) = await session.scalars(select(Suppression))
        assert (lifted.email, lifted.lifted_by) == (first.email, "provider_failure")


async def test_a_few_bounces_of_a_domain_stay_on_the_list(
    as_: As, post: Post, nord: uuid.UUID, sweeper: AsyncEngine
) -> None:
    domain = f"{uuid.uuid4().hex}.test"
    for number in range(3):
        await _bounced(post, nord, f"m{number}@{domain}")
    async with post.database.session(nord) as session:
        await session.execute(text("UPDATE suppressions SET due_at = now()"))
    await sweep_once(SWEEP, post.database, sweeper)
    assert len(await _items(as_, nord)) == 3


def test_windows_are_ten_minutes() -> None:
    at = in_()
    window = rules.window_of(at)
    assert window <= at < window + timedelta(minutes=10)
    assert window.minute % 10 == window.second == window.microsecond == 0
