"""What a file is, by its content; the name is asked only among texts, and never believed against the content."""

import re
from collections.abc import Iterable

HEAD = 8192
"""Bytes from the start that are looked at."""

UNKNOWN = "application/octet-stream"
PROGRAM = "application/x-executable"
SCRIPT = "text/x-script"

FORBIDDEN = (PROGRAM, SCRIPT)
"""What a tenant that has said nothing does not take."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "application/ogg"),
    (0, b"\x1aE\xdf\xa3", "video/x-matroska"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"MSCF", "application/vnd.ms-cab-compressed"),
    (0, b"MZ", PROGRAM),
    (0, b"\x7fELF", PROGRAM),
    (0, b"\xca\xfe\xba\xbe", PROGRAM),  # Java class, or Mach-O for several machines
    (0, b"\xcf\xfa\xed\xfe", PROGRAM),
    (0, b"\xce\xfa\xed\xfe", PROGRAM),
    (0, b"L\x00\x00\x00\x01\x14\x02\x00", PROGRAM),  # a Windows shortcut, which may name any command
)

_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
# Formats that are a zip say what they are in the name or the content of their first entries.
_IN_ZIP: tuple[tuple[bytes, str], ...] = (
    (b"mimetypeapplication/epub+zip", "application/epub+zip"),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.spreadsheet"),
    (b"mimetypeapplication/vnd.oasis.opendocument.presentation", "application/vnd.oasis.opendocument.presentation"),
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    (b"META-INF/MANIFEST.MF", "application/java-archive"),
)
_SCRIPTS = re.compile(
    "bat|cmd|ps1|psm1|vbs|vbe|js|jse|mjs|wsf|wsh|hta|scf|url|reg|sh|bash|zsh|py|pl|rb|php|command|jar"
)
_NOT_IN_TEXT = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_TEXTS = {"csv": "text/csv", "md": "text/markdown", "json": "application/json", "ics": "text/calendar"}
_MARKUP: tuple[tuple[bytes, str], ...] = (
    (b"<svg", "image/svg+xml"),
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<head", "text/html"),
    (b"<body", "text/html"),
    (b"<script", "text/html"),
    (b"<iframe", "text/html"),
    (b"<?xml", "application/xml"),
)


def content_type(head: bytes, name: str) -> str:
    """head: the first HEAD bytes, or all there are."""
    if head.startswith(_ZIP):
        return _type_in_zip(head)
    for offset, magic, found in _MAGIC:
        if head.startswith(magic, offset):
            return found
    if _is_text(head):
        return _type_of_text(head, name.rpartition(".")[2].lower())
    return "audio/mpeg" if head[:1] == b"\xff" and head[1:2] >= b"\xe0" else UNKNOWN


def is_of(found: str, types: Iterable[str]) -> bool:
    """Whether a type is one of these, or of a family that is (`image/`)."""
    return any(found == type or (type.endswith("/") and found.startswith(type)) for type in types)


def _type_in_zip(head: bytes) -> str:
    for sign, found in _IN_ZIP:
        if sign in head:
            return found
    return "application/zip"


def _is_text(head: bytes) -> bool:
    """Without control characters but those of layout; UTF-16 where it says so."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head[: len(head) // 2 * 2].decode("utf-16", "replace").encode()
    return not _NOT_IN_TEXT.search(head)


def _type_of_text(head: bytes, extension: str) -> str:
    if head.startswith(b"#!") or _SCRIPTS.fullmatch(extension):
        return SCRIPT
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        for sign, found in _MARKUP:
            if sign in start:
                return found
    return _TEXTS.get(extension, "text/plain")
