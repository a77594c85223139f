"""Rows that follow another service's: who names one a moment too early waits until its event has come."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from libs.common.errors import Conflict, NotFound

_PATIENCE, _LOOK = 2.0, 0.1  # seconds
_ON_THE_WAY = 600.0  # seconds that an event is on its way at most, while its relay works


class MemberNotKnownYet(Conflict):
    """Raised with retry_after: seconds."""

    title = "The member was made a moment ago and is not known here yet; try again soon"


async def wait_for_member[T](member_id: UUID, look: Callable[[], Awaitable[T | None]]) -> T:
    """What look() finds, within two seconds where the member may be that new (design section 9).

    Raises MemberNotKnownYet; NotFound, at once, for an id that was made longer ago or is no id of ours.
    """
    tries = int(_PATIENCE / _LOOK) if _is_new(member_id) else 0
    for left in range(tries, -1, -1):
        if (found := await look()) is not None:
            return found
        if left:
            await asyncio.sleep(_LOOK)
    raise MemberNotKnownYet(retry_after=2) if tries else NotFound


def _is_new(id: UUID) -> bool:
    """A UUIDv7 says when it was made, in milliseconds (RFC 9562 section 5.7)."""
    return id.version == 7 and abs(time.time() * 1000 - (id.int >> 80)) < _ON_THE_WAY * 1000
