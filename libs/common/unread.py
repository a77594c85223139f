"""What a client still sends when its answer is ready is read and thrown away first, for a while (RFC 9112 section 9.6).

A server that closes a connection on bytes which it has not read resets it, and then a gateway loses the answer too: a
413 would become a 503, which says *try again*.
"""

import asyncio
import contextlib
from collections.abc import Iterable

from litestar.types import Receive, ReceiveMessage

SECONDS = 30.0


class Body:
    """A request's body, and whether all of it has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> ReceiveMessage:
        message = await self._receive()
        self.ended = self.ended or not message.get("more_body", False)  # who has hung up sends no more either
        return message

    async def discard(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while not self.ended:
                    await self()


def comes_with_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """False also for who waits to be told to go on (RFC 9110 section 10.1.1), and is not."""
    given = dict(headers)
    if b"expect" in given:
        return False
    return b"transfer-encoding" in given or given.get(b"content-length", b"0") != b"0"
