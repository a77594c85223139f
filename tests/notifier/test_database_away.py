"""R-25: the database goes away between a mail and its answer; the answer is kept, and the mail is not sent again."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from services.notifier.messages.claims import Claim
from services.notifier.messages.results import Result
from tests.notifier.conftest import SenderOf
from tests.notifier.post import Member, Post


async def test_an_answer_that_was_heard_is_kept_until_it_can_be_written_down(
    post: Post, nord: uuid.UUID, sender_of: SenderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than the lease: the mail is due again meanwhile, and who looks for due mail has its answer in hand."""
    members = [await post.add(nord) for _ in range(6)]
    for member in members:
        await post.invite(member)
    sender, back = sender_of(lease=timedelta(seconds=0.5)), asyncio.Event()
    ask = sender._clerk.ask

    async def ask_while_away(tenant_id: uuid.UUID, request: uuid.UUID | Result) -> Claim | None:
        if isinstance(request, Result) and not back.is_set():
            raise ConnectionRefusedError("the database is away")
        return await ask(tenant_id, request)

    monkeypatch.setattr(sender._clerk, "ask", ask_while_away)
    running = asyncio.create_task(sender.run())
    try:
        await _until(post, members, "sending")
        await asyncio.sleep(1.5)
        back.set()
        await _until(post, members, "sent")
    finally:
        sender.stop()
        await running
    for member in members:
        message = await post.message(member)
        assert (message.reason, message.uncertain) == (None, 0)
        assert [one.outcome for one in await post.attempts(message)] == ["sent"]
        assert len(post.catcher.messages(member.email)) == 1


async def _until(post: Post, members: list[Member], state: str) -> None:
    async with asyncio.timeout(30):
        while {(await post.message(member)).state for member in members} != {state}:  # noqa: ASYNC110 a sender runs
            await asyncio.sleep(0.02)
