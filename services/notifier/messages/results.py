"""What a try came to: the attempt's end, the message's next state, and for a dead address the suppression."""

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.messages.claims import Claim, move_uncertain
from services.notifier.messages.moves import move
from services.notifier.messages.replies import Reply, Verdict, judge
from services.notifier.messages.schedule import GIVE_UP, next_try
from services.notifier.messages.tables import Attempt, Message
from services.notifier.suppressions.rules import suppress_bounced

Outcome = Literal["sent", "deferred", "bounced", "refused", "relay_lost", "uncertain"]

_OUTCOMES: dict[Verdict, Outcome] = {
    Verdict.ACCEPTED: "sent",
    Verdict.LATER: "deferred",
    Verdict.BAD_ADDRESS: "bounced",
    Verdict.REFUSED: "refused",
    Verdict.RELAY: "relay_lost",
}

_RELAY_PAUSE = timedelta(seconds=30)
"""Doubled each time the relay says of this mail that it will not relay it: perhaps it never will."""


async def conclude(session: AsyncSession, claim: Claim, reply: Reply, now: datetime) -> Outcome:
    """An answer came. It counts even where the lease ran out meanwhile, as long as nobody has tried again."""
    verdict = judge(reply)
    outcome = _OUTCOMES[verdict]
    await _end_attempt(session, claim, outcome, now, reply)
    message = await _held(session, claim)
    if message is None:
        return outcome
    if message.state == "unknown" and verdict not in (Verdict.ACCEPTED, Verdict.BAD_ADDRESS):
        return outcome  # it is tried again anyway
    match verdict:
        case Verdict.ACCEPTED:
            await move(
                session, message, "sent", reason="maybe_twice" if message.uncertain else None, tries=message.tries + 1
            )
        case Verdict.LATER:
            await _defer(session, message, now)
        case Verdict.RELAY:
            await _put_back(session, message, now + _RELAY_PAUSE * 2 ** min(message.attempts, 8))
        case Verdict.BAD_ADDRESS:
            await move(session, message, "bounced", reason="bad_address", tries=message.tries + 1)
            await suppress_bounced(session, message, reply.text)
        case Verdict.REFUSED:
            await move(session, message, "failed", reason="refused", tries=message.tries + 1)
    return outcome


async def conclude_relay_away(
    session: AsyncSession, claim: Claim, why: str, retry_at: datetime, now: datetime
) -> Outcome:
    """The relay went away before it had the mail: no attempt of this mail's."""
    await _end_attempt(session, claim, "relay_lost", now, Reply(0, why))
    if message := await _held(session, claim):
        await _put_back(session, message, retry_at)
    return "relay_lost"


async def conclude_answer_lost(session: AsyncSession, claim: Claim, why: str, now: datetime) -> Outcome:
    await _end_attempt(session, claim, "uncertain", now, Reply(0, why))
    if message := await _held(session, claim):
        await move_uncertain(session, message, now)
    return "uncertain"


async def _held(session: AsyncSession, claim: Claim) -> Message | None:
    """The message, if this attempt is still its newest and nothing has been decided since."""
    return await session.scalar(
        select(Message)
        .where(
            Message.id == claim.message.id,
            Message.attempt_id == claim.attempt_id,
            Message.state.in_(("sending", "unknown")),
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )


async def _defer(session: AsyncSession, message: Message, now: datetime) -> None:
    first = message.first_try_at or now
    tries = message.tries + 1
    at = next_try(tries, now, first_try=first, expires_at=message.expires_at)
    if at is not None:
        await move(session, message, "deferred", reason="later", due_at=at, tries=tries, first_try_at=first)
    elif message.expires_at < first + GIVE_UP:
        await move(
            session, message, "expired", reason="link_expired" if message.link_deadline else "too_old", tries=tries
        )
    else:
        await move(session, message, "failed", reason="gave_up", tries=tries)


async def _put_back(session: AsyncSession, message: Message, due_at: datetime) -> None:
    await move(session, message, "deferred", reason="relay", due_at=due_at)


async def _end_attempt(session: AsyncSession, claim: Claim, outcome: Outcome, now: datetime, reply: Reply) -> None:
    """A late answer replaces the guess that was made when the lease ran out."""
    await session.execute(
        update(Attempt)
        .where(Attempt.tenant_id == claim.message.tenant_id, Attempt.id == claim.attempt_id)
        .values(
            ended_at=now,
            outcome=outcome,
            code=reply.code or None,
            enhanced=reply.enhanced or None,
            reply=reply.text,
            duration_ms=int((now - claim.started_at).total_seconds() * 1000),
        )
    )
