"""Hostile file names, as properties."""

import ntpath
import re
import unicodedata
import zipfile
from io import BytesIO
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.documents.names import MOST_BYTES, NAMELESS, Names, disposition, safe_name

_NASTY = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ["..", "/", "\\", "C:", "\x00", "\r\n", '"', ";", "\u202e", "\u2028", "CON", "nul.txt", ".", " "]
        ),
        st.sampled_from(
            ["\u0041\u030a", "\u212b", "\ufb01", "ẞ", "a" * 300, "\U0001d4b3" * 80, "\ud800", "*", "\ufeff", "COM¹"]
        ),
    ),
    max_size=8,
).map("".join)


@given(_NASTY)
def test_a_safe_name_is_one_plain_name(raw: str) -> None:
    """A-36"""
    name = safe_name(raw)
    assert name
    assert len(name.encode()) <= MOST_BYTES
    assert not re.search(r'[\x00-\x1f\x7f\\/:*?"<>|]', name)
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for c in name)
    assert name == name.strip(" .")
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name
    assert not ntpath.isreserved(name)
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Bericht.pdf", "Bericht.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\Brief.docx", "Brief.docx"),
        ("C:Brief.docx", "C_Brief.docx"),
        ("rechnung\u202efdp.exe", "rechnungfdp.exe"),
        ("a\r\nX-Evil: b.html", "a X-Evil_ b.html"),
        ("nul.txt", "_nul.txt"),
        ("...", NAMELESS),
        ("", NAMELESS),
        ("x" * 400 + ".pdf", "x" * (MOST_BYTES - 4) + ".pdf"),
    ],
)
def test_names_as_people_meet_them(raw: str, name: str) -> None:
    assert safe_name(raw) == name


@given(st.lists(_NASTY, max_size=12))
def test_names_in_a_zip_are_unique_and_stay_inside(raws: list[str]) -> None:
    """A-36"""
    folder = Names()
    names = [folder.unique(raw) for raw in raws]
    assert len(names) == len(raws)
    assert len({unicodedata.normalize("NFKC", name.casefold()) for name in names}) == len(raws)
    assert all(name == safe_name(name) for name in names)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    assert zipfile.ZipFile(buffer).namelist() == names


@given(_NASTY)
def test_the_header_is_an_attachment_that_gives_the_true_name(raw: str) -> None:
    """RFC 6266, RFC 8187"""
    name = safe_name(raw)
    header = disposition(name)
    found = re.fullmatch(
        r"attachment; filename=\"([A-Za-z0-9 ._()+-]+)\"; filename\*=UTF-8''([A-Za-z0-9._~%-]+)", header
    )
    assert found is not None
    assert unquote(found.group(2)) == name
    assert header.isascii()


def test_numbers_go_before_the_extension() -> None:
    folder = Names("taken.txt")
    given = ["a.pdf", "A.PDF", "a.pdf", "a (2).pdf", "taken.txt"]
    assert [folder.unique(name) for name in given] == [
        "a.pdf",
        "A (2).PDF",
        "a (3).pdf",
        "a (2) (2).pdf",
        "taken (2).txt",
    ]
