"""Whether a mail may go out now. Asked each time the sender takes it: the world may have moved on."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from libs.common.events.notifier import MailState
from services.notifier.address_book.matrix import may_get
from services.notifier.address_book.rules import GONE, column
from services.notifier.address_book.tables import Entry
from services.notifier.templates.catalog import KINDS


class Stop(msgspec.Struct, frozen=True):
    """Not now, or never: where the message goes instead, and why."""

    state: MailState
    reason: str
    due_at: datetime | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A message with what stands around it; made by one select (claims.py)."""

    template: str
    category: str
    generation: int | None
    link_deadline: datetime | None
    expires_at: datetime
    tenant_state: str | None
    entry: Entry | None
    known_generation: int | None
    ended_generation: int | None
    ended_reason: str | None
    suppressed: str | None
    matrix: Mapping[str, Mapping[str, str]] | None


def stop(facts: Facts, now: datetime) -> Stop | None:
    """None: send it."""
    if facts.expires_at <= now:
        return Stop("expired", "link_expired" if facts.link_deadline else "too_old")
    if facts.tenant_state == "closed":
        return Stop("cancelled", "tenant_closed")
    return _dead_link(facts) or _matrix(facts, now) or _suppression(facts)


def _dead_link(facts: Facts) -> Stop | None:
    """A newer generation kills the older links, an ended one its own."""
    if facts.generation is None or facts.known_generation is None:
        return None
    if facts.generation <= (facts.ended_generation or 0):
        return Stop("cancelled", facts.ended_reason or "replaced")
    return Stop("cancelled", "replaced") if facts.generation < facts.known_generation else None


def _matrix(facts: Facts, now: datetime) -> Stop | None:
    if facts.entry is None:
        return None
    if facts.entry.life in GONE:
        return Stop("cancelled", "erased")
    kind = KINDS[facts.template]
    stands = column(facts.entry, now, invited=kind.group == "invitation")
    return (
        None if may_get(facts.matrix or {}, stands, kind.category, kind.group) else Stop("cancelled", "state_forbids")
    )


def _suppression(facts: Facts) -> Stop | None:
    """A complaint stops what is not needed for security; a dead or barred address gets nothing."""
    if facts.suppressed is None or (facts.suppressed == "complaint" and facts.category == "security"):
        return None
    return Stop("suppressed", facts.suppressed, due_at=facts.expires_at)
