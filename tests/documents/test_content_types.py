"""Types by content: what a name claims is not believed."""

import io
import zipfile

import pytest

from services.documents.uploads.content_types import FORBIDDEN, HEAD, PROGRAM, SCRIPT, UNKNOWN, content_type

_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_ODT = "application/vnd.oasis.opendocument.text"


def _zip(*names: str, first: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), first)  # of 1980: the same bytes in every process
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("head", "name", "found"),
    [
        (b"%PDF-1.7\n", "brief.pdf", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "bild.jpg", "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "foto.jpg", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "x", "image/webp"),
        (b"\x00\x00\x00\x20ftypisom", "film.mp4", "video/mp4"),
        (b"MZ\x90\x00\x03\x00", "rechnung.pdf", PROGRAM),
        (b"\x7fELF\x02\x01", "bild.png", PROGRAM),
        (b"#!/bin/sh\nrm -rf /\n", "notiz.txt", SCRIPT),
        (b"@echo off\r\ndel *.*\r\n", "start.bat", SCRIPT),
        (b"Guten Tag\r\n", "notiz.txt", "text/plain"),
        ("Grüße".encode("utf-16"), "notiz.txt", "text/plain"),
        ("Grüße".encode("cp1252"), "notiz.txt", "text/plain"),
        (b"a;b\n1;2\n", "liste.csv", "text/csv"),
        (b"<svg xmlns='x' onload='alert(1)'/>", "bild.png", "image/svg+xml"),
        (b"<?xml version='1.0'?><!-- c --><svg/>", "bild.svg", "image/svg+xml"),
        (b" \n<!DOCTYPE HTML><p>", "x.txt", "text/html"),
        (b"\x00\x01\x02", "x.pdf", UNKNOWN),
        (b"", "leer", "text/plain"),
        (_zip("a.txt"), "a.zip", "application/zip"),
        (_zip("[Content_Types].xml", "word/document.xml"), "b.zip", _DOCX),
        (_zip("mimetype", first=_ODT.encode()), "c.odt", _ODT),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_content_says_what_a_file_is(head: bytes, name: str, found: str) -> None:
    assert content_type(head[:HEAD], name) == found


def test_programs_and_scripts_are_not_taken_by_default() -> None:
    assert set(FORBIDDEN) == {PROGRAM, SCRIPT}
