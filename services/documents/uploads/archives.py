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
    """An archive may unpack to `free` bytes, to `ordinary` times its size, and to `ratio` times up to `most` bytes."""

    free: int = 64 * MEBIBYTE
    ordinary: int = 3
    ratio: int = 100
    most: int = 4 * 1024 * MEBIBYTE
    entries: int = 20_000
    depth: int = 3
    inner: int = 1024 * MEBIBYTE
    """Bytes of an archive within an archive: it is looked into from a temporary file."""


class _Budget:
    """What may still be unpacked, for an archive and all archives within it."""

    def __init__(self, size: int, bounds: Bounds) -> None:
        self.bounds = bounds
        self.bytes = max(bounds.free, bounds.ordinary * size, min(bounds.ratio * size, bounds.most))
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
    unpack = next((make for magic, make in _STREAMS.items() if head.startswith(magic)), None)
    is_zip = zipfile.is_zipfile(file)  # by its end, as every unpacker finds it: the start may be anything
    if (is_zip or unpack) and depth > budget.bounds.depth:
        raise Bomb("archives within archives, too deep")
    if is_zip:
        with suppress(*_DAMAGED):
            _look_into_zip(file, budget, depth)
    elif unpack:
        file.seek(0)
        _descend(_unpacked(iter(lambda: file.read(_CHUNK), b""), unpack), budget, depth)


def _look_into_zip(file: IO[bytes], budget: _Budget, depth: int) -> None:
    _require_short_directory(file, budget)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    budget.take_entries(len(entries))
    _require_apart(entries)
    for entry in entries:
        if entry.flag_bits & 1:  # locked: nobody unpacks it without its key
            continue
        with suppress(*_DAMAGED):
            _descend(_entry(file, entry, budget), budget, depth)


def _require_short_directory(file: IO[bytes], budget: _Budget) -> None:
    """zipfile reads the whole directory into memory: look at its size first (APPNOTE 4.3.14 to 4.3.16)."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - LONGEST_END))
    tail = file.read(LONGEST_END)
    found = tail.rfind(b"PK\x05\x06")
    (size,) = struct.unpack_from("<L", tail, found + 12)
    if size == 0xFFFFFFFF:
        (at,) = struct.unpack_from("<Q", tail, found - 12)
        file.seek(at + 40)
        (size,) = struct.unpack("<Q", file.read(8))
    if size > max(budget.entries, 1) * 256:
        raise Bomb("it holds too many files")


def _require_apart(entries: list[zipfile.ZipInfo]) -> None:
    """Entries that share their bytes are the trick of the bombs that need no nesting."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise Bomb("its entries overlap")
        end = entry.header_offset + _LOCAL_HEADER.size + entry.compress_size


def _entry(file: IO[bytes], entry: zipfile.ZipInfo, budget: _Budget) -> Iterator[bytes]:
    """What really comes out of an entry, whatever size is written on it."""
    file.seek(entry.header_offset)
    _, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    raw = _packed(file, entry.header_offset + _LOCAL_HEADER.size + name + extra, entry.compress_size)
    if entry.compress_type == zipfile.ZIP_STORED:
        return raw
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        return _unpacked(raw, lambda: _Deflate(-zlib.MAX_WBITS))
    if entry.compress_type == zipfile.ZIP_BZIP2:
        return _unpacked(raw, bz2.BZ2Decompressor)
    budget.take(entry.file_size)  # a way of packing that few programs know: believe what it says
    return iter(())


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
    """Count what comes out, and look into it if it is an archive itself."""
    first = next(chunks, b"")
    budget.take(len(first))
    if not first.startswith((*_STREAMS, *_ZIPS)):
        for chunk in chunks:
            budget.take(len(chunk))
        return
    with tempfile.SpooledTemporaryFile(max_size=8 * MEBIBYTE) as inner:
        inner.write(first)
        for chunk in chunks:
            budget.take(len(chunk))
            if inner.tell() + len(chunk) > budget.bounds.inner:
                raise Bomb("an archive in it is too large to look into")
            inner.write(chunk)
        inner.seek(0)
        _look(inner, budget, depth + 1)


# What reading an archive raises that is damaged, or made to look so. Errors of the store are none of these.
_DAMAGED = (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, EOFError, OverflowError)
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_STREAMS: dict[bytes, Callable[[], _Unpacker]] = {
    b"\x1f\x8b": lambda: _Deflate(16 + zlib.MAX_WBITS),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
}
