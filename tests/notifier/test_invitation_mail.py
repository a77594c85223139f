"""The mail of an invitation: one for each cause, sent, explained, and not sent where its link is dead."""

import asyncio
import re
import uuid
from pathlib import Path

import pytest
from sqlalchemy import delete

from libs.common.events.identity import Reason
from libs.common.inlets import Inbox
from libs.common.links import Links, Purpose, read_code
from tests.notifier.conftest import MAIL_FROM
from tests.notifier.post import Post, in_


async def test_an_invitation_is_mailed_with_a_link_that_works(post: Post, nord: uuid.UUID) -> None:
    """D-13, D-29, R-12: the mail arrives, and the log has template, version, locale and the server's reply."""
    bob = await post.add(nord)
    cause = await post.invite(bob)
    await post.sender.send_due()

    (mail,) = post.catcher.messages(bob.email)
    assert mail["subject"] == "Ihre Einladung"
    assert mail["from"] == f"Control Centre <{MAIL_FROM}>"
    (link,) = set(re.findall(r"http://control-centre\.test/t/nord/invitation/(\S+)", mail["text"]))
    claims = read_code(link)
    assert (claims.purpose, claims.id, claims.generation) == (Purpose.INVITATION, bob.invitation_id, 1)
    assert mail["html"].count(link) == 3  # the button, the address to copy and its text

    message = await post.message(bob)
    assert (message.state, message.template, message.template_version) == ("sent", "invitation", "shipped 1")
    assert (message.locale, message.cause_id, message.tries) == ("de", cause, 1)
    (attempt,) = await post.attempts(message)
    assert (attempt.outcome, attempt.code, attempt.enhanced) == ("sent", 250, "2.0.0")
    assert attempt.reply
    assert attempt.reply.startswith("2.0.0 Kept as")
    assert await post.told(bob) == [("queued", None), ("sent", None)]


async def test_the_link_is_good_for_its_address_and_deadline_only(post: Post, nord: uuid.UUID, keys_dir: Path) -> None:
    bob, deadline = await post.add(nord), in_(days=3)
    await post.invite(bob, deadline=deadline)
    await post.sender.send_due()
    (code,) = set(re.findall(r"invitation/(\S+)", post.catcher.messages(bob.email)[0]["text"]))
    links = Links.load(keys_dir)
    links.verify_code(code, Purpose.INVITATION, address=bob.email, deadline=deadline)


async def test_a_hundred_deliveries_of_one_event_make_one_message(post: Post, nord: uuid.UUID) -> None:
    """R-25: by the inbox, and by the message's own key where the inbox has forgotten it."""
    bob, cause = await post.add(nord), uuid.uuid4()
    await asyncio.gather(*(post.invite(bob, id=cause, generation=1) for _ in range(50)))
    async with post.database.session(nord) as session:
        await session.execute(delete(Inbox))
    await asyncio.gather(*(post.invite(bob, id=cause, generation=1) for _ in range(50)))
    assert len(await post.messages(bob)) == 1
    await post.sender.send_due()
    assert len(post.catcher.messages(bob.email)) == 1


@pytest.mark.parametrize("reason", ["accepted", "expired", "declined", "replaced", "revoked"])
async def test_an_ended_invitation_is_not_sent_any_more(post: Post, nord: uuid.UUID, reason: Reason) -> None:
    bob = await post.add(nord)
    await post.invite(bob)
    await post.end(bob, reason)
    await post.sender.send_due()
    assert post.catcher.messages(bob.email) == []
    message = await post.message(bob)
    assert (message.state, message.reason, message.due_at) == ("cancelled", reason, None)
    assert await post.told(bob) == [("queued", None), ("cancelled", reason)]


async def test_an_end_that_arrives_before_its_beginning_counts(post: Post, nord: uuid.UUID) -> None:
    """Streams promise no order between services, nor does a redelivery."""
    bob = await post.add(nord)
    await post.end(bob, "revoked", generation=1)
    await post.invite(bob)
    await post.sender.send_due()
    assert post.catcher.messages(bob.email) == []
    message = await post.message(bob)
    assert (message.state, message.reason) == ("cancelled", "revoked")


async def test_only_the_newest_generation_is_sent_whatever_arrives_last(post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    await post.invite(bob, generation=2)
    await post.invite(bob, generation=1)
    await post.sender.send_due()
    (mail,) = post.catcher.messages(bob.email)
    assert read_code(re.findall(r"invitation/(\S+)", mail["text"])[0]).generation == 2
    states = {message.generation: message.state for message in await post.messages(bob)}
    assert states == {1: "cancelled", 2: "sent"}


async def test_a_mail_whose_link_is_dead_expires(post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    await post.invite(bob, deadline=in_(seconds=-1))
    await post.sender.send_due()
    message = await post.message(bob)
    assert (message.state, message.reason) == ("expired", "link_expired")
    assert post.catcher.messages(bob.email) == []


async def test_an_address_that_no_mail_can_go_to_is_told_as_failed(post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    await post.invite(bob, email="not an address")
    message = await post.message(bob)
    assert (message.state, message.reason) == ("failed", "address_unusable")
    assert await post.told(bob) == [("failed", "address_unusable")]
