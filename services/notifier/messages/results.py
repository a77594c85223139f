"""What tries came to, written down: the attempts' ends, the messages' next states, suppressions for dead addresses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import among
from services.notifier.messages.claims import Claim
from services.notifier.messages.moves import Step, move_all
from services.notifier.messages.replies import Reply, Verdict, judge
from services.notifier.messages.steps import after_answer, after_lost_answer, after_relay_away
from services.notifier.messages.tables import Message
from services.notifier.suppressions.rules import suppress_bounced
from services.notifier.tables import tenant_of

Outcome = Literal["sent", "deferred", "bounced", "refused", "relay_lost", "uncertain"]

_OUTCOMES: dict[Verdict, Outcome] = {
    Verdict.ACCEPTED: "sent",
    Verdict.LATER: "deferred",
    Verdict.BAD_ADDRESS: "bounced",
    Verdict.REFUSED: "refused",
    Verdict.RELAY: "relay_lost",
}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a try ended. answered: reply is the server's; otherwise its text says why there is none.

    retry_at: where the relay went away before it had the mail; None where the mail was out and its answer was lost.
    """

    claim: Claim
    reply: Reply
    at: datetime
    answered: bool = True
    retry_at: datetime | None = None

    @property
    def outcome(self) -> Outcome:
        if self.answered:
            return _OUTCOMES[judge(self.reply)]
        return "relay_lost" if self.retry_at else "uncertain"

    def step(self, message: Message) -> Step | None:
        if self.answered:
            return after_answer(message, judge(self.reply), self.at)
        return after_relay_away(message, self.retry_at) if self.retry_at else after_lost_answer(message, self.at)


# A late answer replaces the guess that was made when the lease ran out.
_END_ATTEMPTS = text("""
UPDATE attempts
SET ended_at = done.ended_at, outcome = done.outcome, code = done.code, enhanced = done.enhanced, reply = done.reply,
    duration_ms = done.duration_ms
FROM unnest(
    CAST(:id AS uuid[]), CAST(:ended_at AS timestamptz[]), CAST(:outcome AS text[]), CAST(:code AS integer[]),
    CAST(:enhanced AS text[]), CAST(:reply AS text[]), CAST(:duration_ms AS integer[])
) AS done (id, ended_at, outcome, code, enhanced, reply, duration_ms)
WHERE attempts.tenant_id = :tenant_id AND attempts.id = done.id
""")


async def conclude_all(session: AsyncSession, results: Sequence[Result]) -> None:
    """Of one tenant. An answer counts even where the lease ran out meanwhile, as long as nobody has tried again."""
    await _end_attempts(session, results)
    held = await _hold(session, results)
    steps, dead = [], []
    for result in results:
        message = held.get(result.claim.attempt_id)
        step = result.step(message) if message else None
        if message and step:
            steps.append((message, step))
            if step.state == "bounced":
                dead.append((message, result.reply.text))
    await move_all(session, steps)
    for message, said in dead:
        await suppress_bounced(session, message, said)


async def _hold(session: AsyncSession, results: Sequence[Result]) -> dict[UUID | None, Message]:
    """By attempt: the messages of which it is still the newest, and nothing has been decided since."""
    found = select(Message).where(
        among(Message.id, [result.claim.message_id for result in results]),
        among(Message.attempt_id, [result.claim.attempt_id for result in results]),
        Message.state.in_(("sending", "unknown")),
    )
    return {message.attempt_id: message for message in await session.scalars(found.with_for_update())}


async def _end_attempts(session: AsyncSession, results: Sequence[Result]) -> None:
    values: dict[str, object] = {
        "tenant_id": tenant_of(session),
        "id": [result.claim.attempt_id for result in results],
        "ended_at": [result.at for result in results],
        "outcome": [result.outcome for result in results],
        "code": [result.reply.code or None for result in results],
        "enhanced": [result.reply.enhanced or None for result in results],
        "reply": [result.reply.text for result in results],
        "duration_ms": [int((one.at - one.claim.started_at).total_seconds() * 1000) for one in results],
    }
    await session.execute(_END_ATTEMPTS, values)
