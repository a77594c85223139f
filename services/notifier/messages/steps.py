"""What an answer, or the lack of one, makes of a message. Pure: no session, no clock of its own."""

from datetime import datetime, timedelta

from services.notifier.messages.moves import Step
from services.notifier.messages.replies import Verdict
from services.notifier.messages.schedule import GIVE_UP, next_try
from services.notifier.messages.tables import Message

ONCE_MORE = 1
"""How often an uncertain mail is sent again: more would be more than one duplicate."""

_RELAY_PAUSE = timedelta(seconds=30)
"""Doubled each time the relay says of this mail that it will not relay it: perhaps it never will."""


def after_answer(message: Message, verdict: Verdict, now: datetime) -> Step | None:
    """None: the answer came late and changes nothing, because the mail is tried again anyway."""
    tries = message.tries + 1
    match verdict:
        case Verdict.ACCEPTED:
            return Step(state="sent", reason="maybe_twice" if message.uncertain else None, tries=tries)
        case Verdict.BAD_ADDRESS:
            return Step(state="bounced", reason="bad_address", tries=tries)
        case _ if message.state == "unknown":
            return None
        case Verdict.REFUSED:
            return Step(state="failed", reason="refused", tries=tries)
        case Verdict.RELAY:
            pause = _RELAY_PAUSE * 2 ** min(message.attempts, 8)
            return Step(state="deferred", reason="relay", due_at=now + pause)
        case Verdict.LATER:
            return _later(message, tries, now)


def after_relay_away(message: Message, retry_at: datetime) -> Step | None:
    """No attempt of this mail's."""
    return None if message.state == "unknown" else Step(state="deferred", reason="relay", due_at=retry_at)


def after_lost_answer(message: Message, now: datetime) -> Step:
    """Once more, and then it stays unknown."""
    again = message.uncertain < ONCE_MORE
    return Step(
        state="unknown",
        reason="maybe_twice" if again else "uncertain",
        due_at=now if again else None,
        uncertain=message.uncertain + 1,
    )


def _later(message: Message, tries: int, now: datetime) -> Step:
    first = message.first_try_at or now
    at = next_try(tries, now, first_try=first, expires_at=message.expires_at)
    if at is not None:
        return Step(state="deferred", reason="later", due_at=at, tries=tries, first_try_at=first)
    if message.expires_at < first + GIVE_UP:
        return Step(state="expired", reason="link_expired" if message.link_deadline else "too_old", tries=tries)
    return Step(state="failed", reason="gave_up", tries=tries)
