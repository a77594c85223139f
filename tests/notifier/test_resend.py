"""D-17, D-18, D-19, T-03: the same mail again, and what is refused with the name of what helps."""

import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import select, text

from libs.common.changes import Audit
from tests.notifier.conftest import As
from tests.notifier.post import Member, Post, in_

LOG = "/notifier/v1/messages"


@pytest.fixture
async def bob(post: Post, nord: uuid.UUID) -> Member:
    bob = await post.add(nord)
    await post.invite(bob)
    await post.sender.send_due()
    return bob


async def _resend(as_: As, post: Post, member: Member, who: Any = "admin", **headers: str) -> Any:
    first = (await post.messages(member))[0]
    return await as_(who, member.tenant_id).post(f"{LOG}/{first.id}/resend", headers=headers)


@pytest.mark.parametrize(
    ("who", "status"), [(None, 401), ("member", 403), ("counsellor", 403), ("coordinator", 201), ("admin", 201)]
)
async def test_resend_is_for_those_who_may(as_: As, post: Post, bob: Member, who: str | None, status: int) -> None:
    assert (await _resend(as_, post, bob, who)).status_code == status


async def test_a_copy_is_the_same_mail_with_the_same_link_and_its_lineage(as_: As, post: Post, bob: Member) -> None:
    """D-17, D-18: same words, link, deadline and address; a message of its own."""
    answer = await _resend(as_, post, bob)
    copy, original = answer.json(), (await post.messages(bob))[0]
    assert (copy["copy_of"], copy["cause_id"]) == (str(original.id), str(original.cause_id))
    assert copy["expires_at"] == original.expires_at.isoformat().replace("+00:00", "Z")
    await post.sender.send_due()
    first, second = post.catcher.messages(bob.email)
    assert (first["text"], first["html"], first["subject"]) == (second["text"], second["html"], second["subject"])
    assert first["message_id"] != second["message_id"]
    detail = (await as_("admin", bob.tenant_id).get(f"{LOG}/{original.id}")).json()
    assert detail["copies"] == [copy["id"]]
    async with post.database.session(bob.tenant_id) as session:
        (noted,) = await session.scalars(select(Audit).where(Audit.type == "notifier.message.resent"))
        assert (str(noted.row_id), (noted.details or {})["copy_of"]) == (copy["id"], str(original.id))


async def test_a_copy_does_not_change_with_the_tenants_look(as_: As, post: Post, bob: Member) -> None:
    await post.open_tenant(bob.tenant_id, version=2, display_name="Renamed", colour="#ff0000")
    await _resend(as_, post, bob)
    await post.sender.send_due()
    first, second = post.catcher.messages(bob.email)
    assert first["html"] == second["html"]


@pytest.mark.parametrize("reason", ["accepted", "expired", "declined", "revoked"])
async def test_a_dead_link_is_not_sent_again_and_invite_again_is_named(
    as_: As, post: Post, bob: Member, reason: Any
) -> None:
    await post.end(bob, reason)
    answer = await _resend(as_, post, bob)
    assert (answer.status_code, answer.json()["code"]) == (409, "link_dead")
    assert (answer.json()["reason"], answer.json()["instead"]) == (reason, "invite_again")
    assert len(await post.messages(bob)) == 1


async def test_after_inviting_again_only_the_newest_mail_can_be_copied(as_: As, post: Post, bob: Member) -> None:
    await post.invite(bob)
    answer = await _resend(as_, post, bob)
    assert (answer.json()["code"], answer.json()["reason"]) == ("link_dead", "replaced")


async def test_an_expired_link_names_invite_again(as_: As, post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    await post.invite(bob, deadline=in_(seconds=-5))
    await post.sender.send_due()
    answer = await _resend(as_, post, bob)
    assert (answer.json()["code"], answer.json()["instead"]) == ("link_dead", "invite_again")


async def test_a_changed_address_is_not_written_to(as_: As, post: Post, bob: Member) -> None:
    """D-19: the copy would go to the old address."""
    await post.save(bob, email="new@example.test")
    answer = await _resend(as_, post, bob)
    assert (answer.status_code, answer.json()["code"]) == (409, "address_changed")
    assert answer.json()["instead"] == "invite_again"


async def test_a_dead_address_names_fix_email(as_: As, post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    post.catcher.behave({"action": "reply", "to": bob.email, "code": 550, "enhanced": "5.1.1", "text": "No such user"})
    await post.invite(bob)
    await post.sender.send_due()
    answer = await _resend(as_, post, bob)
    assert (answer.status_code, answer.json()["code"]) == (409, "address_suppressed")
    assert answer.json()["instead"] == "fix_email"


async def test_a_mail_on_its_way_is_not_doubled(as_: As, post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    await post.invite(bob)
    assert (await _resend(as_, post, bob)).json()["code"] == "still_on_its_way"


async def test_copies_are_few_per_hour_and_address(as_: As, post: Post, bob: Member) -> None:
    """Nobody is bombed with mail: five an hour."""
    answers = [await _resend(as_, post, bob) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [201] * 5 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3600


async def test_a_repeated_request_makes_one_copy(as_: As, post: Post, bob: Member) -> None:
    key = {"Idempotency-Key": "once"}
    admin, first = as_("admin", bob.tenant_id), (await post.messages(bob))[0]
    answers = [await admin.post(f"{LOG}/{first.id}/resend", headers=key) for _ in range(3)]
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    assert len(await post.messages(bob)) == 2


async def test_copies_made_at_the_same_time_are_counted_right(as_: As, post: Post, bob: Member) -> None:
    answers = await asyncio.gather(*(_resend(as_, post, bob) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 3
    assert [message.copy_number for message in await post.messages(bob)] == [0, 1, 2, 3, 4, 5]


async def test_what_a_broken_relay_left_behind_is_resent_in_one_call(as_: As, post: Post, nord: uuid.UUID) -> None:
    members = [await post.add(nord) for _ in range(3)]
    post.catcher.behave({"action": "reply", "code": 554, "enhanced": "5.7.1", "text": "Go away"})
    for member in members:
        await post.invite(member)
    await post.sender.send_due()
    post.catcher.behave()
    await post.end(members[0], "accepted")
    admin = as_("admin", nord)
    answer = await admin.post(f"{LOG}/resend", json={"filter": {"state": ["failed"]}})
    assert [item["code"] for item in answer.json()["items"]] == ["link_dead", None, None]
    await post.sender.send_due()
    assert [len(post.catcher.messages(member.email)) for member in members] == [0, 1, 1]
    again = await admin.post(f"{LOG}/resend", json={"filter": {"state": ["failed"]}})
    assert [item["code"] for item in again.json()["items"]] == ["link_dead"]  # the others have a copy now


@pytest.mark.parametrize("body", [{}, {"ids": [str(uuid.uuid4())], "filter": {}}, {"filter": {"nonsense": 1}}])
async def test_bulk_resend_wants_ids_or_a_filter(as_: As, nord: uuid.UUID, body: dict[str, Any]) -> None:
    assert (await as_("admin", nord).post(f"{LOG}/resend", json=body)).status_code == 400


async def test_bulk_resend_of_another_tenants_ids_finds_nothing(as_: As, post: Post, bob: Member) -> None:
    """R-07"""
    message = await post.message(bob)
    answer = await as_("admin", uuid.uuid4()).post(f"{LOG}/resend", json={"ids": [str(message.id)]})
    assert answer.json()["items"] == [{"message_id": str(message.id), "copy_id": None, "code": "not_found"}]
    assert len(await post.messages(bob)) == 1
    async with post.database.session(bob.tenant_id) as session:
        assert await session.scalar(text("SELECT count(*) FROM messages WHERE copy_of IS NOT NULL")) == 0
