"""When a deferred mail is tried again: soon at first, then every four hours for a day, never past its link's life."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

STEPS = tuple(timedelta(seconds=s) for s in (30, 120, 600, 1800, 3600, 7200, 14400))
GIVE_UP = timedelta(hours=24)
"""From the first try (R-12). Time in which the relay was away does not count: nothing was tried then."""
JITTER = 0.2


def next_try(
    tries: int,
    now: datetime,
    *,
    first_try: datetime,
    expires_at: datetime,
    jitter: Callable[[], float] = lambda: random.uniform(-JITTER, JITTER),  # noqa: S311
) -> datetime | None:
    """After so many tries (one or more). None: no more, because a day is over or the link inside would be dead."""
    step = STEPS[min(tries, len(STEPS)) - 1]
    at = now + step * (1 + jitter())
    return at if at < min(first_try + GIVE_UP, expires_at) else None
