"""File names: what is stored of the one a client sends, how it travels in a header, how it stands in a zip.

A safe name is one line, no path, nothing that turns the reading direction, nothing that Windows, macOS or Linux would
refuse or read as something else, at most 180 bytes in UTF-8.
"""

import re
import unicodedata
from urllib.parse import quote

MOST_BYTES = 180
NAMELESS = "document"

_FORBIDDEN = re.compile(r'[\\/:*?"<>|]')
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SPACES = re.compile(r"\s+")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(?=\s*(\.|$))")
_EXTENSION = re.compile(r"\.[^.\s]{1,15}$")


def safe_name(raw: str) -> str:
    """Never empty; safe_name(safe_name(x)) == safe_name(x)."""
    name = unicodedata.normalize("NFC", raw)
    name = re.split(r"[\\/]", name.rstrip("\\/"))[-1]
    name = "".join(" " if c in "\t\r\n" else c for c in name if c in "\t\r\n" or unicodedata.category(c) not in _UNSEEN)
    name = _tidy(_FORBIDDEN.sub("_", name))
    if _DEVICES.match(name):
        name = f"_{name}"
    return _shortened(name, MOST_BYTES) or NAMELESS


def disposition(name: str) -> str:
    """Content-Disposition for a safe name: a plain one for old clients, the true one beside it (RFC 6266, RFC 8187)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", plain).strip() or NAMELESS
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class Names:
    """Safe names in one folder: " (2)", " (3)" … where one was there before, whatever its case or form."""

    def __init__(self, *taken: str) -> None:
        self._seen = {_key(name) for name in taken}
        self._counts: dict[str, int] = {}

    def unique(self, raw: str) -> str:
        name = first = safe_name(raw)
        while _key(name) in self._seen:
            count = self._counts[_key(first)] = self._counts.get(_key(first), 1) + 1
            name = _numbered(first, count)
        self._seen.add(_key(name))
        return name


def _key(name: str) -> str:
    """What a file system that ignores case and forms would compare."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _numbered(name: str, number: int) -> str:
    stem, extension = _split(name)
    suffix = f" ({number}){extension}"
    return _cut(stem, MOST_BYTES - len(suffix.encode())) + suffix


def _shortened(name: str, most: int) -> str:
    """Cut in the middle, so that the extension stays."""
    if len(name.encode()) <= most:
        return name
    stem, extension = _split(name)
    return _cut(stem, most - len(extension.encode())) + extension


def _split(name: str) -> tuple[str, str]:
    found = _EXTENSION.search(name)
    return (name[: found.start()], found.group()) if found and found.start() else (name, "")


def _cut(text: str, most: int) -> str:
    return _tidy(unicodedata.normalize("NFC", text.encode()[:most].decode("utf-8", "ignore")))


def _tidy(name: str) -> str:
    """Neither spaces nor dots at the ends: Windows drops them, a leading dot hides, two are a way up."""
    return _SPACES.sub(" ", name).strip(" .")
