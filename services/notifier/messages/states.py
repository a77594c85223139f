"""The states of a message (T-14) and the only ways between them; each step is a compare-and-set.

    queued ──> sending ──> sent ──> delivered ──> complained
      │          │  │ └──> deferred ──> sending …    bounced <── sent, unknown
      │          │  └────> unknown ──> sending (once more, same Message-ID) …
      │          └───────> bounced, failed, expired
      └──> suppressed (held; goes back to queued), expired, cancelled

sent: the next server has accepted it, no more. delivered: a report says so.
"""

from collections.abc import Mapping

from libs.common.events.notifier import MailState

EDGES: Mapping[MailState, frozenset[MailState]] = {
    "queued": frozenset({"sending", "suppressed", "expired", "cancelled", "deferred", "failed"}),
    "sending": frozenset({"sent", "deferred", "bounced", "failed", "expired", "unknown"}),
    "deferred": frozenset({"sending", "suppressed", "expired", "cancelled", "failed", "deferred"}),
    "unknown": frozenset(
        {"sending", "sent", "delivered", "bounced", "complained", "suppressed", "expired", "cancelled", "failed"}
    ),
    "suppressed": frozenset({"queued", "expired", "cancelled"}),
    "sent": frozenset({"delivered", "bounced", "complained"}),
    "delivered": frozenset({"complained"}),
    "bounced": frozenset(),
    "complained": frozenset(),
    "expired": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

WAITING: frozenset[MailState] = frozenset({"queued", "deferred", "unknown", "suppressed"})
"""Not on its way: may still be cancelled."""

FINAL: frozenset[MailState] = frozenset(state for state, ways in EDGES.items() if not ways)


class IllegalStep(Exception):
    """A mistake in the program: there is no such way."""


def require_step(old: MailState, new: MailState) -> None:
    if new not in EDGES[old]:
        raise IllegalStep(f"{old} -> {new}")
