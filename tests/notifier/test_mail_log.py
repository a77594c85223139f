"""The mail log: what it shows to whom, and how it is searched."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from libs.common.db import now
from libs.common.text import masked_address
from tests.notifier.conftest import As
from tests.notifier.post import Member, Post

LOG = "/notifier/v1/messages"


@pytest.fixture
async def bob(post: Post, nord: uuid.UUID) -> Member:
    """Invited, and the mail is sent."""
    bob = await post.add(nord)
    await post.invite(bob)
    await post.sender.send_due()
    return bob


async def _only(as_: As, member: Member, who: Any = "admin") -> dict[str, Any]:
    (item,) = (await as_(who, member.tenant_id).get(LOG, params={"member_id": str(member.id)})).json()["items"]
    return dict(item)


@pytest.mark.parametrize(
    ("who", "status"), [(None, 401), ("member", 403), ("counsellor", 403), ("coordinator", 200), ("admin", 200)]
)
async def test_the_log_is_for_those_who_may_read_mail(as_: As, bob: Member, who: str | None, status: int) -> None:
    caller = as_(who, bob.tenant_id)
    assert (await caller.get(LOG)).status_code == status
    message = (await as_("admin", bob.tenant_id).get(LOG)).json()["items"][0]
    assert (await caller.get(f"{LOG}/{message['id']}")).status_code == status


async def test_another_tenants_mail_does_not_exist(as_: As, post: Post, bob: Member) -> None:
    """R-07"""
    globex = uuid.uuid4()
    message = await post.message(bob)
    assert (await as_("admin", globex).get(LOG)).json()["items"] == []
    for id in (message.id, uuid.uuid4()):
        answers = [
            await as_("admin", globex).get(f"{LOG}/{id}"),
            await as_("admin", globex).post(f"{LOG}/{id}/resend"),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "not_found")] * 2


async def test_a_member_is_traced_to_the_servers_answer_in_one_call(as_: As, bob: Member) -> None:
    """R-12, D-29, D-30: state, template, version, locale, cause, and what the next server said."""
    item = await _only(as_, bob)
    assert item["state"] == "sent"
    assert (item["template"], item["template_version"], item["locale"]) == ("invitation", "shipped 1", "de")
    assert item["cause_type"] == "identity.invitation.issued.v1"
    assert (item["tries"], item["maybe_twice"], item["email"]) == (1, False, bob.email)
    last = item["last_attempt"]
    assert (last["outcome"], last["code"], last["enhanced"], last["host"]) == ("sent", 250, "2.0.0", "127.0.0.1")
    assert last["reply"].startswith("2.0.0 Kept as")
    assert last["duration_ms"] >= 0


async def test_one_mail_shows_its_body_as_it_was_sent_without_the_code(as_: As, post: Post, bob: Member) -> None:
    """R-07: the code of the link is nowhere but in the mail."""
    item = await _only(as_, bob)
    answer = await as_("admin", bob.tenant_id).get(f"{LOG}/{item['id']}")
    detail, (mail,) = answer.json(), post.catcher.messages(bob.email)
    code = mail["text"].partition("/invitation/")[2].split()[0]
    assert len(code) > 80
    assert code not in answer.text
    assert detail["body"]["subject"] == mail["subject"]
    assert detail["body"]["text"].replace("/invitation/…", f"/invitation/{code}").split() == mail["text"].split()
    assert detail["body"]["html"].count("/invitation/…") == mail["html"].count(code) == 3
    assert [attempt["outcome"] for attempt in detail["attempts"]] == ["sent"]
    assert (detail["copies"], detail["reports"]) == ([], [])


async def test_the_code_stands_in_no_table(post: Post, bob: Member) -> None:
    """R-07"""
    code = post.catcher.messages(bob.email)[0]["text"].partition("/invitation/")[2].split()[0]
    async with post.database.session(bob.tenant_id) as session:
        for table in ("messages", "message_bodies", "attempts", "outbox", "inbox", "audit", "invitations"):
            found = await session.scalars(text(f"SELECT row_to_json({table})::text FROM {table}"))  # noqa: S608
            assert not [row for row in found if code in row or code[-43:] in row]


async def test_addresses_are_masked_for_those_who_may_not_see_them(as_: As, post: Post, bob: Member) -> None:
    """A-22: field policy governs the mail log too, servers' replies included."""
    post.catcher.behave({"action": "reply", "code": 550, "enhanced": "5.2.0", "text": f"<{bob.email}> not today"})
    await post.invite(bob)
    await post.sender.send_due()
    path = f"{LOG}?state=failed&member_id={bob.id}"
    seen = (await as_("admin", bob.tenant_id).get(path)).json()["items"][0]
    masked = (await as_("coordinator", bob.tenant_id).get(path)).json()["items"][0]
    assert seen["email"] == bob.email
    assert seen["last_attempt"]["reply"] == f"5.2.0 <{bob.email}> not today"
    assert masked["email"] == masked_address(bob.email)
    assert masked["last_attempt"]["reply"] == f"5.2.0 <{masked_address(bob.email)}> not today"
    detail = await as_("coordinator", bob.tenant_id).get(f"{LOG}/{masked['id']}")
    assert bob.email not in detail.text
    refused = await as_("coordinator", bob.tenant_id).get(LOG, params={"email": bob.email})
    assert refused.status_code == 403


async def test_an_address_is_masked_however_the_server_spells_it(as_: As, post: Post, bob: Member) -> None:
    """A-22: many servers repeat it in small letters, or the one that it was forwarded to; so does the list of those
    that no mail goes to.
    """
    said = f"<{bob.email.upper()}> (expanded from {bob.email}): forwarded to=bob@home.test unknown"
    post.catcher.behave({"action": "reply", "code": 550, "enhanced": "5.1.1", "text": said})
    await post.invite(bob)
    await post.sender.send_due()
    coordinator = as_("coordinator", bob.tenant_id)
    for path in (f"{LOG}?member_id={bob.id}", "/notifier/v1/suppressions", "/notifier/v1/suppressions/export"):
        seen = (await coordinator.get(path)).text
        assert "b…@home.test unknown" in seen
        assert bob.email.partition("@")[0] not in seen.lower()


async def test_the_log_is_searched_by_member_address_template_state_time_and_cause(
    as_: As, post: Post, nord: uuid.UUID
) -> None:
    start = now()
    bob, eve = await post.add(nord), await post.add(nord)
    cause = await post.invite(bob)
    await post.sender.send_due()
    await post.invite(eve)
    admin = as_("admin", nord)

    async def found(**params: str) -> list[str]:
        answer = await admin.get(LOG, params=params)
        assert answer.status_code == 200, answer.text
        return [item["email"] for item in answer.json()["items"]]

    assert await found() == [eve.email, bob.email]
    assert await found(member_id=str(bob.id)) == [bob.email]
    assert await found(email=bob.email.upper()) == [bob.email]
    assert await found(template="invitation") == [eve.email, bob.email]
    assert await found(template="password_reset") == []
    assert await found(state="sent") == [bob.email]
    assert await found(state="queued") == [eve.email]
    assert await found(cause_id=str(cause)) == [bob.email]
    assert await found(created_from=start.isoformat()) == [eve.email, bob.email]
    assert await found(created_to=start.isoformat()) == []
    assert await found(created_from=(now() + timedelta(minutes=1)).isoformat()) == []
    several = await admin.get(LOG, params=[("state", "queued"), ("state", "sent")])
    assert len(several.json()["items"]) == 2


async def test_the_log_is_paged_without_gap_or_repeat_and_a_cursor_is_bound_to_its_filter(
    as_: As, post: Post, nord: uuid.UUID
) -> None:
    members = [await post.add(nord) for _ in range(7)]
    for member in members:
        await post.invite(member)
    admin, seen, params = as_("admin", nord), [], {"limit": "3", "state": "queued"}
    while True:
        answer = (await admin.get(LOG, params=params)).json()
        seen += [item["email"] for item in answer["items"]]
        if answer["next"] is None:
            break
        params["cursor"] = answer["next"]
    assert seen == [member.email for member in reversed(members)]
    other = await admin.get(LOG, params={**params, "state": "sent"})
    assert (other.status_code, other.json()["field"]) == (400, "cursor")


async def test_a_page_of_the_log_is_one_statement(as_: As, post: Post, bob: Member) -> None:
    """R-29"""
    said: list[str] = []

    def listen(*args: Any) -> None:
        said.append(args[2])

    event.listen(post.database.engine.sync_engine, "before_cursor_execute", listen)
    await as_("admin", bob.tenant_id).get(LOG)
    event.remove(post.database.engine.sync_engine, "before_cursor_execute", listen)
    assert len([line for line in said if "set_config" not in line]) == 1
