"""Archive bombs of every make, and archives that are none."""

import bz2
import gzip
import io
import lzma
import random
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.documents.uploads.archives import MEBIBYTE, Bomb, Bounds, require_harmless

BOUNDS = Bounds(ratio=10, free=MEBIBYTE, most=8 * MEBIBYTE, entries=50, depth=3, inner=2 * MEBIBYTE)
_NULLS = bytes(20 * MEBIBYTE)
_NOISE = random.Random(1).randbytes(5000)


def _zip(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _look(body: bytes) -> None:
    require_harmless(io.BytesIO(body), len(body), BOUNDS)


def _lying(body: bytes) -> bytes:
    """The same zip, whose directory says that its entry is 10 bytes long."""
    start = body.index(b"PK\x01\x02")
    return body[: start + 24] + struct.pack("<L", 10) + body[start + 28 :]


def _unknown_first(body: bytes) -> bytes:
    """The same zip, whose first entry is packed in a way that nobody knows."""
    start = body.index(b"PK\x01\x02")
    return body[: start + 10] + struct.pack("<H", 97) + body[start + 12 :]


def _damaged_first(body: bytes) -> bytes:
    """The same zip, whose first entry is nowhere."""
    start = body.index(b"PK\x01\x02")
    return body[: start + 42] + struct.pack("<L", 2**31) + body[start + 46 :]


def _overlapping() -> bytes:
    body = _zip({"a": _NOISE, "b": b"y"})
    second = body.rindex(b"PK\x01\x02")
    return body[: second + 42] + struct.pack("<L", 0) + body[second + 46 :]


def _nested(depth: int) -> bytes:
    body = b"x"
    for _ in range(depth):
        body = _zip({"inner.zip": body})
    return body


BOMBS: dict[str, Callable[[], bytes]] = {
    "deflate": lambda: _zip({"a": _NULLS}),
    "bzip2 in zip": lambda: _zip({"a": _NULLS}, zipfile.ZIP_BZIP2),
    "many entries": lambda: _zip({str(n): bytes(MEBIBYTE) for n in range(20)}),
    "pretends to be a pdf": lambda: b"%PDF-1.7 pretends\n" + _zip({"a": _NULLS}),
    "lies about its size": lambda: _lying(_zip({"a": _NULLS})),
    "zips in a zip": lambda: _zip({f"{n}.zip": _zip({"a": bytes(3 * MEBIBYTE)}) for n in range(5)}),
    "gzip in a zip": lambda: _zip({"a.gz": gzip.compress(_NULLS)}),
    "gzip": lambda: gzip.compress(_NULLS),
    "gzips in a row": lambda: gzip.compress(bytes(MEBIBYTE)) * 20,
    "gzip of gzip": lambda: gzip.compress(gzip.compress(_NULLS)),
    "bzip2": lambda: bz2.compress(_NULLS),
    "xz": lambda: lzma.compress(_NULLS),
    "too many files": lambda: _zip({str(n): b"" for n in range(60)}),
    "too deep": lambda: _nested(4),
    "overlapping": _overlapping,
    "a damaged entry first": lambda: _damaged_first(_zip({"a": b"x", "b": _NULLS})),
    "an unknown way of packing first": lambda: _unknown_first(_zip({"a": b"x", "b": _NULLS})),
    "an unknown way of packing that says its size": lambda: _unknown_first(_zip({"a": _NULLS})),
    "a large archive within": lambda: _zip({"a.zip": _zip({"a": _NOISE * 500}, 0)}, 0),
}
HARMLESS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": lambda: b"Guten Tag",
    "empty zip": lambda: b"PK\x05\x06" + bytes(18),
    "no zip after all": lambda: b"PK\x03\x04 no zip after all",
    "no gzip either": lambda: b"\x1f\x8b no gzip either",
    "noise": lambda: _NOISE,
    "an ordinary zip": lambda: _zip({"bericht.txt": b"Text " * 1000, "ordner/": b"", "bild.png": _NOISE}),
    "nested": lambda: _nested(3),
    "an ordinary gzip": lambda: gzip.compress(b"Text " * 1000),
    "gzips and a rest": lambda: gzip.compress(b"one") + gzip.compress(b"two") + b"and something else",
    "stored": lambda: _zip({"a": _NOISE * 500}, zipfile.ZIP_STORED),
    "truncated": lambda: _zip({"a": b"x" * 100})[:-30],
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_found(kind: str) -> None:
    with pytest.raises(Bomb):
        _look(BOMBS[kind]())


@pytest.mark.parametrize("kind", HARMLESS)
def test_others_pass(kind: str) -> None:
    _look(HARMLESS[kind]())


@given(st.sampled_from(sorted(HARMLESS)), st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=20))
@settings(max_examples=300, deadline=None)
def test_damage_is_never_an_error(kind: str, damage: list[tuple[int, int]]) -> None:
    body = bytearray(HARMLESS[kind]())
    for place, byte in damage:
        if body:
            body[place % len(body)] = byte
    with suppress(Bomb):
        _look(bytes(body))


def test_an_archive_as_large_as_what_it_holds_is_none() -> None:
    """However large: `most` bounds what is packed tightly only."""
    body = _zip({"a": _NOISE * 200, "b": _NOISE * 200}, zipfile.ZIP_STORED)
    require_harmless(io.BytesIO(body), len(body), Bounds(free=1, most=1))


def test_a_zip64_directory_is_measured() -> None:
    body = _zip({"a": b"x"})
    end = body.rindex(b"PK\x05\x06")
    record = b"PK\x06\x06" + bytes(36) + struct.pack("<Q", 500 * MEBIBYTE) + bytes(8)
    locator = b"PK\x06\x07" + bytes(4) + struct.pack("<QL", end, 1)
    tail = bytearray(body[end:])
    tail[12:16] = b"\xff\xff\xff\xff"
    with pytest.raises(Bomb):
        _look(body[:end] + record + locator + bytes(tail))


def test_a_directory_as_long_as_a_book_is_not_read_into_memory() -> None:
    body = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 0xFFFF, 0xFFFF, 500 * MEBIBYTE, 0, 0)
    with pytest.raises(Bomb):
        _look(body)
