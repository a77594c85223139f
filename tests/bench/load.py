"""A load generator for HTTP on this machine: a few connections, each with one request in flight, on bare sockets.

It costs a tenth of a full client's time a request, so that what is measured is the server. Never for another machine.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec


class Load(msgspec.Struct, frozen=True):
    """What a run gave. Latencies in seconds."""

    requests: int
    seconds: float
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Refused(Exception):
    """The server answered something else than success; the message holds the answer's beginning."""


def request(method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    place = urlsplit(url)
    target = place.path + (f"?{place.query}" if place.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {place.netloc}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(self, make: Callable[[], bytes], until: float, latencies: list[float]) -> None:
        self.make, self.until, self.latencies = make, until, latencies
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer, self.sent = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(rest) < int(length or 0):
            return
        if not head.startswith(b"HTTP/1.1 2"):
            self._finish(Refused((head + b"\n" + rest)[:600].decode(errors="replace")))
            return
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        self.buffer = b""
        if now < self.until:
            self._send()
        else:
            self._finish(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._finish(error or ConnectionError("the server closed the connection"))

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.make())

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
            self.transport.close()


async def run(url: str, make: Callable[[], bytes], *, seconds: float, connections: int = 16) -> Load:
    """make: the next request's bytes. Raises Refused at the first answer that is no success."""
    place = urlsplit(url)
    if place.hostname not in ("127.0.0.1", "localhost"):
        raise ValueError("load goes to this machine only")
    loop, port = asyncio.get_running_loop(), place.port or 80
    latencies: list[float] = []
    started = time.perf_counter()
    made = [
        (await loop.create_connection(lambda: _Connection(make, started + seconds, latencies), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for connection in made))
    return Load(len(latencies), time.perf_counter() - started, latencies)
