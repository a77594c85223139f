"""A-41 to A-44: messages by admins, the way shown before sending, kept for the member to read."""

import uuid
from typing import Any

import pytest
from sqlalchemy import select

from libs.common.events.members import MemberErasing
from libs.common.text import masked_address
from services.notifier.direct_messages.tables import DirectMessage
from tests.notifier.conftest import As
from tests.notifier.post import Member, Post

BODY = {"subject": "Termin am Donnerstag", "text": "Liebe Kim,\n\nbis 17 Uhr!\n<b>kein HTML</b> {{ name }}"}


def _of(member: Member) -> str:
    return f"/notifier/v1/members/{member.id}/direct-messages"


@pytest.fixture
async def kim(post: Post, nord: uuid.UUID) -> Member:
    """An active member."""
    return await post.active(nord)


@pytest.mark.parametrize(
    ("who", "status"),
    [(None, 401), ("member", 403), ("counsellor", 403), ("coordinator", 403), ("admin", 200), ("owner", 200)],
)
async def test_only_admins_write_direct_messages(as_: As, kim: Member, who: str | None, status: int) -> None:
    """A-41"""
    caller = as_(who, kim.tenant_id)
    assert (await caller.get(_of(kim))).status_code == status
    assert (await caller.get(f"{_of(kim)}/way")).status_code == status
    assert (await caller.post(_of(kim), json=BODY)).status_code == (201 if status == 200 else status)


async def test_a_direct_message_arrives_as_it_was_written(as_: As, post: Post, kim: Member) -> None:
    """A-42: subject and text; nothing in them is markup or template."""
    written = (await as_("admin", kim.tenant_id).post(_of(kim), json=BODY)).json()
    await post.sender.send_due()
    (mail,) = post.catcher.messages(kim.email)
    assert mail["subject"] == "Termin am Donnerstag"
    assert "Liebe Kim,\n\nbis 17 Uhr!\n<b>kein HTML</b> {{ name }}\n" in mail["text"].replace("\r", "")
    assert "&lt;b&gt;kein HTML&lt;/b&gt; {{ name }}" in mail["html"]
    message = await post.message(kim)
    assert (str(message.id), message.state, message.category) == (written["message_id"], "sent", "transactional")
    assert message.actor_id is not None


async def test_the_way_is_shown_before_sending(as_: As, post: Post, kim: Member) -> None:
    """A-43"""
    way = await as_("admin", kim.tenant_id).get(f"{_of(kim)}/way")
    assert way.json() == {"way": "email", "text": f"per E-Mail an {masked_address(kim.email)}"}


async def test_who_cannot_be_reached_is_not_written_to_and_the_reason_is_named(
    as_: As, post: Post, nord: uuid.UUID
) -> None:
    """A-43, T-07: no e-mail, a state that gets none, an address on the list."""
    admin = as_("admin", nord)
    nobody = await post.active(nord, email=None)
    locked = await post.active(nord)
    await post.want(locked, blocked=["locked"])
    dead = await post.active(nord)
    await admin.post("/notifier/v1/suppressions", json={"email": dead.email, "detail": "x"})
    for member, way in ((nobody, "no_email"), (locked, "state_forbids"), (dead, "suppressed")):
        shown = (await admin.get(f"{_of(member)}/way")).json()
        assert shown["way"] == way
        assert shown["text"].startswith("nicht erreichbar: ")
        refused = await admin.post(_of(member), json=BODY)
        assert (refused.status_code, refused.json()["code"]) == (409, "cannot_be_reached")
        assert refused.json()["way"] == way
        assert await post.messages(member) == []


async def test_messages_are_listed_newest_first_with_what_became_of_them(as_: As, post: Post, kim: Member) -> None:
    """A-44"""
    admin = as_("admin", kim.tenant_id)
    for number in range(5):
        await admin.post(_of(kim), json={**BODY, "subject": f"Nr. {number}"})
    await post.sender.send_due()
    first = (await admin.get(_of(kim), params={"limit": 3})).json()
    second = (await admin.get(_of(kim), params={"limit": 3, "cursor": first["next"]})).json()
    items = first["items"] + second["items"]
    assert [item["subject"] for item in items] == [f"Nr. {number}" for number in (4, 3, 2, 1, 0)]
    assert {item["state"] for item in items} == {"sent"}


async def test_the_member_reads_her_messages_and_nobody_elses(as_: As, post: Post, kim: Member) -> None:
    other = await post.active(kim.tenant_id)
    await as_("admin", kim.tenant_id).post(_of(kim), json=BODY)

    async def read(member: Member, holder: int = 1) -> list[Any]:
        caller = as_("member", member.tenant_id, id=member.id, holder=holder)
        return list((await caller.get("/notifier/v1/direct-messages")).json()["items"])

    (mine,) = await read(kim)
    assert (mine["subject"], mine["text"]) == (BODY["subject"], BODY["text"])
    assert await read(other) == []
    assert await read(kim, holder=2) == []  # another human holds the membership now
    assert (await as_(None).get("/notifier/v1/direct-messages")).status_code == 401


async def test_members_of_another_tenant_do_not_exist(as_: As, kim: Member) -> None:
    """R-07"""
    globex = as_("admin", uuid.uuid4())
    assert (await globex.get(_of(kim))).status_code == 404
    assert (await globex.get(f"{_of(kim)}/way")).status_code == 404
    assert (await globex.post(_of(kim), json=BODY)).status_code == 404


@pytest.mark.parametrize("body", [{"subject": "a\nb", "text": "x"}, {"subject": "", "text": "x"}, {"subject": "a"}])
async def test_what_is_no_subject_or_text_is_malformed(as_: As, kim: Member, body: dict[str, str]) -> None:
    assert (await as_("admin", kim.tenant_id).post(_of(kim), json=body)).status_code == 400


async def test_a_direct_messages_body_is_hidden_from_who_may_not_write_such(as_: As, post: Post, kim: Member) -> None:
    written = (await as_("admin", kim.tenant_id).post(_of(kim), json=BODY)).json()
    await post.sender.send_due()
    path = f"/notifier/v1/messages/{written['message_id']}"
    assert (await as_("admin", kim.tenant_id).get(path)).json()["body"]["subject"] == BODY["subject"]
    hidden = await as_("coordinator", kim.tenant_id).get(path)
    assert hidden.json()["body"] is None
    assert "17 Uhr" not in hidden.text


async def test_a_state_that_changes_meanwhile_stops_the_mail(as_: As, post: Post, kim: Member) -> None:
    """T-07: asked again when it is sent."""
    await as_("admin", kim.tenant_id).post(_of(kim), json=BODY)
    await post.want(kim, blocked=["deactivated"])
    await post.sender.send_due()
    message = await post.message(kim)
    assert (message.state, message.reason) == ("cancelled", "state_forbids")


@pytest.mark.parametrize("end", ["erased", "anonymised"])
async def test_direct_messages_go_with_the_member_for_their_recipients_too(
    as_: As, post: Post, kim: Member, end: str
) -> None:
    """C-67: what she was written, and what she wrote."""
    author = await post.active(kim.tenant_id)
    await as_("admin", kim.tenant_id, id=author.id).post(_of(kim), json=BODY)
    await as_("admin", kim.tenant_id, id=kim.id).post(_of(author), json=BODY)
    bystander = await post.active(kim.tenant_id)
    await as_("admin", kim.tenant_id).post(_of(bystander), json=BODY)
    await post.sender.send_due()
    if end == "erased":
        await post.tell(kim.tenant_id, MemberErasing(certificate_id=uuid.uuid4()), row=kim.id, version=99)
    else:
        await post.save(kim, life="anonymised")
    async with post.database.session(kim.tenant_id) as session:
        left = (await session.scalars(select(DirectMessage.member_id))).all()
    assert left == [bystander.id]
    assert await post.messages(kim) == []
    assert await post.messages(author) == []
    assert (await as_("admin", kim.tenant_id).get(_of(kim))).status_code == 404


async def test_an_inactive_member_keeps_hers(as_: As, post: Post, kim: Member) -> None:
    """C-67: normal while inactive or marked deleted."""
    await as_("admin", kim.tenant_id).post(_of(kim), json=BODY)
    await post.want(kim, blocked=["outside_dates"])
    await post.save(kim, life="marked_deleted")
    assert len((await as_("admin", kim.tenant_id).get(_of(kim))).json()["items"]) == 1
