"""What must not be written down, made unreadable: for logs and spans. The last net, not the rule (log ids only).

A value goes when its name says secret, or when it looks like one: bearer tokens, JWTs, link codes and other long random
runs, passwords in addresses, mail addresses, values inside database errors. No value can begin a new line.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

SECRET = "[secret]"  # noqa: S105
_DEPTH = 6

_SECRET_WORDS = frozenset({"authorization", "cookie", "cookies", "password", "passwords", "passwd", "passphrase"}) | {
    "secret",
    "secrets",
    "token",
    "otp",
    "totp",
    "mac",
    "csrf",
    "credential",
    "credentials",
    "verifier",
    "assertion",
}
_INNOCENT_CODES = frozenset({"status_code", "error_code", "err_code", "exit_code", "reply_code", "smtp_code"})

# Short, without blanks and quotes: most of what is logged, decided by one match.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/{}+-]{0,40}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NAMED = (
    r"(?:passw(?:or)?d|passphrase|secret|token|access_token|refresh_token|id_token|client_secret|api_key|otp|totp"
    r"|csrf|nonce)"
)
_QUOTED = r"""(?:'[^']*'|"[^"]*"|[^\s,&;'"()\[\]{}]+)"""
_SUSPECT = re.compile(
    r"(?P<header>\b(?:authorization|(?:set-)?cookie)['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\r\n]+)"
    r"|(?P<scheme>\b(?:bearer|basic|dpop)\s+)[A-Za-z0-9._~+/=-]{6,}"
    rf"|(?P<named>\b{_NAMED}['\"]?\s*[=:]\s*){_QUOTED}"
    r"|(?P<code>\bcode['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,&;'\"()\[\]{}]{6,})"
    r"|(?P<userinfo>://)[^\s/@]*@"
    r"|(?P<parameters>\[parameters: ).*?\]$"
    r"|(?P<key>\bKey \([^)]*\)=\().*?\)(?= )"
    r"|\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_.-]+"
    r"|(?-i:(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]*[A-Z])(?=[A-Za-z0-9_-]*[a-z])(?=[A-Za-z_-]*[0-9_-])[A-Za-z0-9_-]{40,})"
    r"|(?P<address>[A-Za-z0-9._%+-]+@(?=[A-Za-z0-9-]+\.))[A-Za-z0-9.-]+",
    re.IGNORECASE | re.MULTILINE,
)


@lru_cache(2048)
def is_secret_name(name: str) -> bool:
    words = name.lower().replace("-", "_")
    if words == "code" or (words.endswith("_code") and words not in _INNOCENT_CODES):
        return True
    return not words.endswith("_id") and not _SECRET_WORDS.isdisjoint(words.split("_"))


def scrub(value: Any, name: str = "", *, lines: bool = False, depth: int = 0) -> Any:
    """The value as it may be written: strings cleaned, mappings and lists walked, everything unknown as clean text.

    lines: keep line feeds (tracebacks); whoever prints them indents them.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if name and is_secret_name(name):
        return SECRET
    if kind is int or kind is float:
        return value
    if isinstance(value, str):
        text = str(value)
        return text if _PLAIN.fullmatch(text) else _clean(text, lines)
    if isinstance(value, int | float):  # an IntEnum, numpy's
        return int(value) if isinstance(value, int) else float(value)
    if depth >= _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {_clean(str(key), False): scrub(item, str(key), depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(item, depth=depth + 1) for item in value]
    return _clean(str(value) if isinstance(value, BaseException) else _text(value), lines)


def _text(value: object) -> str:
    """UUIDs, times, enumerations as they print; structs and rows by repr, whose fields the patterns know."""
    return (
        str(value) if type(value).__module__ in {"uuid", "datetime", "ipaddress", "pathlib", "decimal"} else repr(value)
    )


def _clean(text: str, lines: bool) -> str:
    text = _SUSPECT.sub(_replacement, text)
    return _CONTROL.sub(_keep_lines if lines else _escape, text)


def _replacement(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "address":
        return "[address]"
    if kind == "userinfo":
        return f"://{SECRET}@"
    if kind in {"parameters", "key"}:
        return f"{match[kind]}{SECRET}{match[0][-1]}"
    return f"{match[kind]}{SECRET}" if kind else SECRET


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _keep_lines(match: re.Match[str]) -> str:
    return match[0] if match[0] == "\n" else _escape(match)
