"""One look at every byte of a file as it passes, on its way in or read back: length, digest, type, harm."""

import hashlib
from collections.abc import Awaitable

import msgspec

from services.documents.scanner import Scan, Scanner, ScannerAway, TooLargeToScan
from services.documents.uploads.archives import LONGEST_END, may_be_archive
from services.documents.uploads.content_types import HEAD, content_type


class Report(msgspec.Struct, frozen=True):
    size: int
    sha256: bytes
    content_type: str
    is_archive: bool
    """Something that unpacks, by its start or by its end."""
    harm: str = ""
    """What the scanner found."""
    unscanned: str = ""
    """Why there is no verdict though there should be one: scanner_away, too_large_to_scan."""


class Inspection:
    def __init__(self, name: str, scanner: Scanner) -> None:
        self._name, self._scanner = name, scanner
        self._digest, self._size = hashlib.sha256(), 0
        self._head = self._tail = b""
        self._scan: Scan | None = None
        self._unscanned = ""

    @property
    def size(self) -> int:
        return self._size

    async def feed(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._size += len(chunk)
        if len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
        self._tail = (self._tail + chunk)[-LONGEST_END:]
        if self._scanner.configured and not self._unscanned:
            await self._feed_scanner(chunk)

    async def report(self) -> Report:
        harm = None
        if self._scan is not None and not self._unscanned:
            harm = await self._asked(self._scan.verdict())
        found = content_type(self._head, self._name)
        is_archive = may_be_archive(self._head, self._tail)
        return Report(self._size, self._digest.digest(), found, is_archive, harm or "", self._unscanned)

    def give_up(self) -> None:
        """Before or after the end: nothing is asked of the scanner any more."""
        if self._scan is not None:
            self._scan.give_up()

    async def _feed_scanner(self, chunk: bytes) -> None:
        if self._scan is None:
            self._scan = await self._asked(self._scanner.scan())
        if self._scan is not None:
            await self._asked(self._scan.feed(chunk))

    async def _asked[T](self, answer: Awaitable[T]) -> T | None:
        """None where the scanner fails; then it is not asked again."""
        try:
            return await answer
        except ScannerAway:
            self._unscanned = "scanner_away"
        except TooLargeToScan:
            self._unscanned = "too_large_to_scan"
        return None
