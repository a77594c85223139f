"""Links in mails that need no stored secret: the code is derived again whenever the mail is rendered (R-07).

    code = base64url(version ‖ length of kid ‖ kid ‖ purpose ‖ tenant ‖ id ‖ generation ‖ mac)
    mac  = HMAC-SHA256 under the key of (purpose, kid) over all before it, the deadline and the canonical address

So a code is good for one purpose, row, generation, address and deadline; changing any of them kills the older links.
Whether the deadline has passed, and whether the row is still open, is for its owner to say.

LinkError
├── LinkUnreadable      400  no code of ours: cut off, or something else altogether
├── LinkForAnother      404  a code, but for another purpose
└── LinkNotValid        404  not made by us for this row as it now is: forged, renewed, readdressed, its key withdrawn
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from uuid import UUID

import msgspec

from libs.common.errors import AppError
from libs.common.keys import KeyRing
from libs.common.text import canonical_address

_VERSION = 1
_LABEL = b"control-centre link\x00"
_MAC = hashlib.sha256().digest_size
_FIXED = 1 + 16 + 16 + 8  # purpose, tenant, id, generation
_CODE = re.compile(r"[A-Za-z0-9_-]{80,200}", re.ASCII)


class LinkError(AppError):
    """Base of what can be wrong with a code."""

    status, title = 404, "This link does not work"


class LinkUnreadable(LinkError):
    status, title = 400, "This link is incomplete"


class LinkForAnother(LinkError):
    title = "This link is for something else"


class LinkNotValid(LinkError):
    title = "This link is not valid, or not any more"


class Purpose(IntEnum):
    """What a link lets its holder do. The numbers are on the wire: never reused."""

    INVITATION = 1
    PASSWORD_RESET = 2
    VERIFY_ADDRESS = 3
    OBJECT = 4
    """Stop a change of the sign-in address, from the old one."""
    UNSUBSCRIBE = 5

    @property
    def keys(self) -> str:
        return f"link-{self.name.lower().replace('_', '-')}"


class LinkClaims(msgspec.Struct, frozen=True):
    """What a code says about itself: enough to find the row, proof of nothing until verify_code has agreed."""

    kid: str
    purpose: Purpose
    tenant_id: UUID
    id: UUID
    generation: int


class Links:
    """Makes and verifies codes. Made with the purposes that this process needs; each must have a key."""

    def __init__(self, rings: Mapping[Purpose, KeyRing]) -> None:
        self._rings = rings

    @classmethod
    def load(cls, keys_dir: Path, *purposes: Purpose) -> "Links":
        """Raises KeyProblem where a key is missing; without purposes, all of them."""
        return cls({purpose: KeyRing(keys_dir, purpose.keys) for purpose in purposes or Purpose})

    def make_code(
        self, purpose: Purpose, *, tenant_id: UUID, id: UUID, generation: int, address: str, deadline: datetime | None
    ) -> str:
        """The same code for the same row as long as the key is the newest. A deadline counts in whole seconds."""
        kid, key = self._rings[purpose].newest()
        claims = LinkClaims(kid, purpose, tenant_id, id, generation)
        body = _body(claims)
        return base64.urlsafe_b64encode(body + _mac(key, body, address, deadline)).rstrip(b"=").decode()

    def verify_code(self, code: str, purpose: Purpose, *, address: str, deadline: datetime | None) -> LinkClaims:
        """address and deadline are the row's, never the request's. Raises a LinkError."""
        claims, body, mac = _split(code)
        if claims.purpose != purpose:
            raise LinkForAnother
        key = self._rings[purpose].get(claims.kid)
        if key is None or not hmac.compare_digest(mac, _mac(key, body, address, deadline)):
            raise LinkNotValid
        return claims


def read_code(code: str) -> LinkClaims:
    """Unverified: to find the row with. Raises LinkUnreadable."""
    return _split(code)[0]


def _split(code: str) -> tuple[LinkClaims, bytes, bytes]:
    if not _CODE.fullmatch(code):
        raise LinkUnreadable
    try:
        raw = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))
        # Two spellings of one code would be two names for one secret: only the canonical one is taken.
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != code or raw[0] != _VERSION:
            raise LinkUnreadable
        kid, rest = raw[2 : 2 + raw[1]], raw[2 + raw[1] : -_MAC]
        if not 1 <= len(kid) == raw[1] or len(rest) != _FIXED:
            raise LinkUnreadable
        claims = LinkClaims(
            kid=kid.decode("ascii"),
            purpose=Purpose(rest[0]),
            tenant_id=UUID(bytes=rest[1:17]),
            id=UUID(bytes=rest[17:33]),
            generation=int.from_bytes(rest[33:]),
        )
    except ValueError as error:
        raise LinkUnreadable from error
    return claims, raw[:-_MAC], raw[-_MAC:]


def _body(claims: LinkClaims) -> bytes:
    kid = claims.kid.encode("ascii")
    numbers = claims.tenant_id.bytes + claims.id.bytes + claims.generation.to_bytes(8)
    return bytes([_VERSION, len(kid)]) + kid + bytes([claims.purpose]) + numbers


def _mac(key: bytes, body: bytes, address: str, deadline: datetime | None) -> bytes:
    """Every field but the last is of fixed or stated length, so that no two rows give the same input."""
    message = _LABEL + body + _seconds(deadline) + canonical_address(address).encode()
    return hmac.digest(key, message, "sha256")


def _seconds(deadline: datetime | None) -> bytes:
    """Whole seconds: a deadline that went through JSON or a database must give the same code."""
    if deadline is None:
        return b"\x00" * 9
    if deadline.tzinfo is None:
        raise ValueError("a deadline says its time zone")
    return b"\x01" + int(deadline.astimezone(UTC).timestamp()).to_bytes(8)
