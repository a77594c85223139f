"""Archive bombs: an archive must not unpack to much more than it is, nor hide others too deep.

What an archive says of itself is not believed: it is unpacked here, with a bound, and thrown away.
"""

import bz2
import io
import lzma
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Protocol

import msgspec

MEBIBYTE = 1024 * 1024
_CHUNK = 64 * 1024
LONGEST_END = 22 + 0xFFFF  # the end record with the longest comment
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class Bomb(Exception):
    """The message says which bound it breaks."""


class Bounds(msgspec.Struct, frozen=True):
    ratio: int = 100
    """Times its own size that an archive may unpack to, beyond `free`."""
    free: int = 64 * MEBIBYTE
    most: int = 4 * 1024 * MEBIBYTE
    entries: int = 20_000
    depth: int = 3


class _Budget:
    """What may still be unpacked, for an archive and all archives within it."""

    def __init__(self, size: int, bounds: Bounds) -> None:
        self.bounds = bounds
        self.bytes = min(bounds.most, max(bounds.free, size * bounds.ratio))
        self.entries = bounds.entries

    def take(self, count: int) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise Bomb("it unpacks to far more than it is")

    def take_entries(self, count: int) -> None:
        self.entries -= count
        if self.entries < 0:
            raise Bomb("it holds too many files")


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = ...) -> bytes: ...


def may_be_archive(head: bytes, tail: bytes) -> bool:
    """Whether require_harmless has to be asked, by a file's first bytes and its last LONGEST_END."""
    return head.startswith(tuple(_STREAMS)) or b"PK\x05\x06" in tail


def require_harmless(file: IO[bytes], size: int, bounds: Bounds = Bounds()) -> None:  # noqa: B008 it is frozen
    """Raises Bomb. What is no archive, or one that nothing could unpack, is harmless. Blocks."""
    _look(file, _Budget(size, bounds), depth=1)


def _look(file: IO[bytes], budget: _Budget, depth: int) -> None:
    head = file.read(6)
    file.seek(0)
    if zipfile.is_zipfile(file):  # by its end, as every unpacker finds it: the start may be anything
        if depth > budget.bounds.depth:
            raise Bomb("archives within archives, too deep")
        with suppress(zipfile.BadZipFile, NotImplementedError):
            _look_into_zip(file, budget, depth)
        return
    for magic, make in _STREAMS.items():
        if head.startswith(magic):
            if depth > budget.bounds.depth:
                raise Bomb("archives within archives, too deep")
            file.seek(0)
            _descend(_unpacked(iter(lambda: file.read(_CHUNK), b""), make), budget, depth)
            return


def _look_into_zip(file: IO[bytes], budget: _Budget, depth: int) -> None:
    _require_short_directory(file, budget)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        budget.take_entries(len(entries))
        _require_apart(entries)
        for entry in entries:
            if entry.is_dir() or entry.flag_bits & 1:  # a locked entry cannot be unpacked, by nobody without its key
                continue
            _descend(_entry(file, entry), budget, depth)


def _require_short_directory(file: IO[bytes], budget: _Budget) -> None:
    """zipfile reads the whole directory into memory: look at its size first (APPNOTE 4.3.16)."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - LONGEST_END))
    tail = file.read(LONGEST_END)
    found = tail.rfind(b"PK\x05\x06")
    if found >= 0 and len(tail) >= found + 16:
        (size,) = struct.unpack_from("<L", tail, found + 12)
        if size > max(budget.entries, 1) * 256:
            raise Bomb("it holds too many files")


def _require_apart(entries: list[zipfile.ZipInfo]) -> None:
    """Entries that share their bytes are the trick of the bombs that need no nesting."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise Bomb("its entries overlap")
        end = entry.header_offset + _LOCAL_HEADER.size + entry.compress_size


def _entry(file: IO[bytes], entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """What really comes out of an entry, whatever size is written on it."""
    file.seek(entry.header_offset)
    magic, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if magic != b"PK\x03\x04":
        raise zipfile.BadZipFile
    file.seek(name + extra, 1)
    raw = _packed(file, file.tell(), entry.compress_size)
    if entry.compress_type == zipfile.ZIP_STORED:
        return raw
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        return _unpacked(raw, lambda: _Deflate(-zlib.MAX_WBITS))
    if entry.compress_type == zipfile.ZIP_BZIP2:
        return _unpacked(raw, bz2.BZ2Decompressor)
    raise NotImplementedError("a way of packing that few programs know")


def _packed(file: IO[bytes], position: int, left: int) -> Iterator[bytes]:
    while left > 0:
        file.seek(position)
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            return
        position, left = position + len(chunk), left - len(chunk)
        yield chunk


def _unpacked(chunks: Iterator[bytes], make: Callable[[], _Unpacker]) -> Iterator[bytes]:
    """Stream after stream, as gzip, bzip2 and xz allow; ends where the bytes make no more sense."""
    unpacker = make()
    with suppress(zlib.error, OSError, lzma.LZMAError):
        for data in chunks:
            while True:
                out = unpacker.decompress(data, _CHUNK)
                if out:
                    yield out
                data = b""
                if unpacker.eof:
                    data, unpacker = unpacker.unused_data, make()
                if not data and not out:
                    break


class _Deflate:
    """zlib's decompressor with the face of those of bz2 and lzma: it keeps what it has not unpacked yet."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _descend(chunks: Iterator[bytes], budget: _Budget, depth: int) -> None:
    """Count what comes out, and look whether it is an archive itself."""
    with tempfile.SpooledTemporaryFile(max_size=8 * MEBIBYTE) as inner:
        for chunk in chunks:
            budget.take(len(chunk))
            inner.write(chunk)
        inner.seek(0)
        _look(inner, budget, depth + 1)


_STREAMS: dict[bytes, Callable[[], _Unpacker]] = {
    b"\x1f\x8b": lambda: _Deflate(16 + zlib.MAX_WBITS),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
}
