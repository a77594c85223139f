"""Whether a membership may be used now, decided from its own row and the clock alone."""

from datetime import datetime
from typing import Literal

from services.identity.memberships.tables import Membership

Cause = Literal["ended", "locked", "deactivated", "outside_dates", "marked_deleted"]

# Before the entry date one accepts, and waits to sign in (design section 2).
_BARS_ACCEPTING = frozenset({"locked", "deactivated", "marked_deleted"})


def bar_to_sign_in(membership: Membership, now: datetime, *, owner: bool) -> Cause | None:
    """Why nobody may sign in to it; None where she may. An owner's expiry date does not come by itself (R-09).

    A block is lifted by members only, whatever the clock says: identity's own clock just ends access.
    """
    if membership.state != "active":
        return "ended"
    if membership.blocked:
        return membership.blocked[0]  # type: ignore[return-value]
    if membership.starts_at is not None and membership.starts_at > now:
        return "outside_dates"
    if is_past(membership, now) and not owner:
        return "outside_dates"
    return None


def bar_to_accept(membership: Membership, now: datetime) -> Cause | None:
    """Why an open invitation cannot be accepted just now. It stays open to its deadline."""
    for block in membership.blocked:
        if block in _BARS_ACCEPTING:
            return block  # type: ignore[return-value]
    return "outside_dates" if is_past(membership, now) else None


def is_past(membership: Membership, now: datetime) -> bool:
    return membership.ends_at is not None and membership.ends_at <= now
