"""A proxy in front of the store, with weather: answers 5xx, stalls, goes slowly, breaks off; with TLS where asked."""

import asyncio
import contextlib
import ssl
from typing import Any
from urllib.parse import urlsplit


class Proxy:
    """`async with Proxy(endpoint) as proxy:`; proxy.weather is fair, 5xx, stalled, slow or dropping.

    dropping: the connection ends after `after` bytes of answers, once; then it is fair again.
    """

    def __init__(self, endpoint: str, tls: ssl.SSLContext | None = None) -> None:
        url = urlsplit(endpoint)
        self._there = url.hostname or "", url.port or 80
        self._tls = tls
        self.weather = "fair"
        self.after = 0
        self.refused = 0
        self.url = ""
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Proxy":
        patience: dict[str, Any] = {"ssl": self._tls, "ssl_shutdown_timeout": 0.2} if self._tls else {}
        self._server = await asyncio.start_server(self._connect, "localhost", 0, **patience)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"https://localhost:{port}" if self._tls else f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        there_reader, there_writer = await asyncio.open_connection(*self._there)
        forth = asyncio.create_task(self._forth(reader, there_writer, writer))
        back = asyncio.create_task(self._back(there_reader, writer))
        try:
            await asyncio.wait([forth, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (forth, back):
                one.cancel()
            for open_writer in (there_writer, writer):
                open_writer.close()
                with contextlib.suppress(OSError):
                    await open_writer.wait_closed()
            self._running.discard(task)

    async def _forth(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, here: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                if self.weather == "5xx":
                    self.refused += 1
                    here.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    await here.drain()
                    return
                while self.weather == "stalled":  # noqa: ASYNC110 weather is no event
                    await asyncio.sleep(0.02)
                there.write(chunk)
                await there.drain()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                if self.weather == "slow":
                    await asyncio.sleep(0.05)
                if self.weather == "dropping":
                    chunk, self.after = chunk[: self.after], self.after - len(chunk)
                writer.write(chunk)
                await writer.drain()
                if self.weather == "dropping" and self.after <= 0:
                    self.weather = "fair"
                    self.refused += 1
                    return
