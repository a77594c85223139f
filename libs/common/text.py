"""Text that people type: what is let in, how e-mail addresses compare, what of a name may reach a mail."""

import re
import unicodedata
from typing import Annotated

import idna
from msgspec import Meta

from libs.common.errors import Malformed

# Marks that turn the reading direction, separators of lines, byte order marks, what is no character at all.
_MARKS = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
_UNWANTED_IN_LINE = rf"\x00-\x1f\x7f-\x9f{_MARKS}"
_UNWANTED_IN_TEXT = rf"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_MARKS}"
# `$` alone would let a line break through at the end; the look-ahead means the same to Python and to ECMAScript.
_END = r"$(?!\n)"

Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=rf"^(?=\s*\S)[^{_UNWANTED_IN_LINE}]*{_END}")]
"""One line with something to read on it."""

Text = Annotated[str, Meta(min_length=1, max_length=10_000, pattern=rf"^[^{_UNWANTED_IN_TEXT}]*{_END}")]
"""Several lines; tabs and line breaks are welcome."""

Address = Annotated[
    str, Meta(min_length=3, max_length=254, pattern=rf"^[^@{_UNWANTED_IN_LINE}]+@[^@{_UNWANTED_IN_LINE}]+{_END}")
]
"""The outline of an e-mail address; canonical_address decides."""


class AddressMalformed(Malformed):
    title = "This is not an e-mail address that mail can be sent to"


_LOCAL = re.compile(r"""[^\s@"(),:;<>\[\\\].]+(?:\.[^\s@"(),:;<>\[\\\].]+)*""")
_ENCODED_WORD = re.compile(r"=\?.*\?=")
_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def canonical_address(raw: str) -> str:
    """The one form by which addresses are compared, stored beside what was typed, and looked up (R-02).

    Trimmed; the local part in NFKC and case-folded, the domain in its ASCII form (IDNA 2008, mapped by UTS 46).
    Dots and plus signs stay: who ignores them is the provider's business. Idempotent. Raises AddressMalformed for what
    is not one plain address with a dotted domain (RFC 5321: 64 octets, 254 in all): no quotes, comments, IP literals,
    encoded words (RFC 2047: mail programs would show another address).

    Different addresses may share a canonical form. So mail goes to the address that is stored, never to one that was
    typed into a form to look it up.
    """
    if len(raw) > 320:
        raise AddressMalformed(field="email")
    local, at, domain = unicodedata.normalize("NFKC", raw.strip()).strip().rpartition("@")
    local = _folded(local)
    if not at or not _LOCAL.fullmatch(local) or any(unicodedata.category(c) in _CONTROL for c in local):
        raise AddressMalformed(field="email")
    if _ENCODED_WORD.search(local):
        raise AddressMalformed(field="email")
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode()
        octets = len(local.encode())
    except ValueError as error:
        raise AddressMalformed(field="email") from error
    labels = ascii_domain.split(".")
    if len(labels) < 2 or not labels[-1] or labels[-1].isdigit() or octets > 64 or octets + 1 + len(ascii_domain) > 254:
        raise AddressMalformed(field="email")
    return f"{local}@{ascii_domain}"


def _folded(text: str) -> str:
    """NFKC and case folding undo each other for a few characters: until both leave it as it is."""
    for _ in range(4):
        folded = unicodedata.normalize("NFKC", text.casefold())
        if folded == text:
            break
        text = folded
    return text


def masked_address(address: str) -> str:
    """b…@example.org: enough to recognise one's own, too little to learn another's."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


_QUOTED_ADDRESS = re.compile(r"""[^\s"'(),:;<>=\[\]]+@[^\s"'(),:;<>=\[\]]+""")


def with_masked_addresses(said: str) -> str:
    """What another machine said, in whatever spelling it repeats addresses there."""
    return _QUOTED_ADDRESS.sub(lambda found: masked_address(found.group()), said)


_LINK = re.compile(
    r"""\S*(?:
        [\w+.-]+:[/\\]{1,}         # any scheme with slashes
        | [/\\]{2}                 # or slashes that browsers read as one
        | \bwww[.。]
        | \b(?:mailto|tel|sms|javascript|data|file|blob):
        | @
    )\S*""",
    re.VERBOSE | re.IGNORECASE,
)
# Mail programs make a link of any word with a dot in it: a space after the dot keeps the name readable, and dead.
_DOT = re.compile(r"(?<=\w)([.。])(?=[\w-]{2,})")


def plain_name(name: str) -> str:
    """A person's or a tenant's name as it may stand in a mail's body (R-28): no links, addresses, control or direction
    marks; one line. May be empty: then say it without a name. Never put it into a header or a link.
    """
    for _ in range(4):
        text = "".join(_visible(c) for c in unicodedata.normalize("NFKC", name))
        plain = " ".join(_DOT.sub(r"\1 ", _LINK.sub(" ", text)).split())
        if plain == name:
            break
        name = plain
    return name


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    return "" if category in _CONTROL else character
