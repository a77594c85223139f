"""ClamAV over its socket: a file is streamed to clamd (INSTREAM) while it passes, never stored for it.

clamd answers `stream: OK`, `stream: <name> FOUND`, or an error; a file above its StreamMaxLength cannot be scanned.
"""

import asyncio
import struct
from urllib.parse import urlsplit

import structlog

_log = structlog.get_logger()
_WITHIN = 30.0
_ERRORS = (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError)


class ScannerAway(Exception):
    """No verdict could be had; ask again later."""


class TooLargeToScan(Exception):
    """clamd takes only shorter files (StreamMaxLength)."""


class Scanner:
    """tcp://host:port or unix:///path; with an empty address nothing is ever scanned."""

    def __init__(self, url: str, *, within: float = _WITHIN) -> None:
        self._url, self._within = urlsplit(url), within
        self.configured = bool(url)

    async def scan(self) -> "Scan":
        """Begin with one file. Raises ScannerAway."""
        try:
            async with asyncio.timeout(self._within):
                if self._url.scheme == "unix":
                    reader, writer = await asyncio.open_unix_connection(self._url.path)
                else:
                    reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port or 3310)
        except _ERRORS as error:
            raise _away(error) from error
        return Scan(reader, writer, self._within)

    async def ping(self) -> None:
        """Raises ScannerAway."""
        (await self.scan()).give_up()


class Scan:
    """One file. clamd may answer before its end and hang up at once, so its answer is waited for from the beginning."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, within: float) -> None:
        self._writer, self._within = writer, within
        self._answering = asyncio.create_task(reader.readuntil(b"\0"))
        self._answering.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._writer.write(b"zINSTREAM\0")

    async def feed(self, chunk: bytes) -> None:
        """Raises ScannerAway, TooLargeToScan."""
        await self._send(struct.pack("!L", len(chunk)) + chunk)
        if self._answering.done():
            await self._answer(1)

    async def verdict(self) -> str | None:
        """The name of what was found, or None. Raises ScannerAway, TooLargeToScan."""
        await self._send(struct.pack("!L", 0))
        try:
            return await self._answer(self._within)
        finally:
            self.give_up()

    def give_up(self) -> None:
        self._answering.cancel()
        self._writer.close()

    async def _send(self, said: bytes) -> None:
        try:
            async with asyncio.timeout(self._within):
                self._writer.write(said)
                await self._writer.drain()
        except _ERRORS:
            await self._answer(1)  # it says why it reads no more

    async def _answer(self, within: float) -> str | None:
        try:
            async with asyncio.timeout(within):
                answer = (await self._answering).rstrip(b"\0").decode("utf-8", "replace")
        except _ERRORS as error:
            raise _away(error) from error
        return _read(answer)


def _read(answer: str) -> str | None:
    if answer.endswith(" FOUND"):
        return answer.removeprefix("stream: ").removesuffix(" FOUND")
    if answer == "stream: OK":
        return None
    if "size limit exceeded" in answer:
        raise TooLargeToScan
    raise ScannerAway(answer)


def _away(error: BaseException) -> ScannerAway:
    _log.warning("scanner_away", error=type(error).__name__)
    return ScannerAway(type(error).__name__)
