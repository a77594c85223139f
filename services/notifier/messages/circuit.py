"""Whether the relay can be used. While it is away nobody tries, so that no mail loses an attempt; one looks again."""

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from libs.common.metrics import gauge

log = structlog.get_logger()

RELAY_AWAY = gauge("mail_relay_away", "1 while the mail relay cannot be used.")

FIRST, LONGEST = 1.0, 60.0
PATIENCE = 3
"""Mails in a row that the relay will not relay, until all wait: one alone is that mail's trouble."""


class Circuit:
    """Closed: everybody passes. Open: everybody waits; after a pause that doubles, one passes and says how it went."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0
        self._probing = False
        self._refusals = 0

    @property
    def is_open(self) -> bool:
        return self._pause > 0

    def may_try(self) -> bool:
        """True for one at a time while open: whoever is let through reports worked or failed."""
        if not self.is_open:
            return True
        if self._clock() < self._until:
            return False
        self._probing, self._until = True, self._clock() + self._pause  # the next, should this one never report
        return True

    async def enter(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Returns when a try makes sense."""
        while not self.may_try() and not give_up():  # noqa: ASYNC110 it waits for the clock
            await asyncio.sleep(0.1)

    def worked(self) -> None:
        if self.is_open:
            log.info("mail_relay_back")
        self._pause, self._probing, self._refusals = 0.0, False, 0
        RELAY_AWAY.set(0)

    def failed(self, why: str) -> None:
        """The relay did not answer, hung up, or wants something else of us."""
        if self.is_open and not self._probing:
            return  # others that were under way when it opened
        if not self.is_open:
            log.error("mail_relay_away", why=why)
        self._pause, self._probing = min(max(self._pause * 2, FIRST), LONGEST), False
        self._until = self._clock() + self._pause * random.uniform(0.9, 1.1)  # noqa: S311
        RELAY_AWAY.set(1)

    def refused(self, why: str) -> None:
        """It answered, and will not relay this mail: perhaps not any."""
        self._refusals += 1
        if self._refusals >= PATIENCE:
            self.failed(why)

    def pause_left(self) -> float:
        """Seconds for which trying is pointless."""
        return max(0.0, self._until - self._clock()) if self.is_open else 0.0
