"""Variable envelope return paths: each mail has a sender address of its own, so that a bounce names its message.

    b+<base32(tenant ‖ message ‖ mac)>@<bounce domain>      63 octets of 64, RFC 5321

Lower case, because some servers fold it. The mac keeps strangers from reporting bounces for guessed messages. It is
short, because the local part is: who finds one of 2^48 marks one mail as bounced.
"""

import base64
import binascii
import hashlib
import hmac
from uuid import UUID

from libs.common.keys import KeyRing

_MAC = 6
_LABEL = b"control-centre bounce\x00"


def return_path(ring: KeyRing, tenant_id: UUID, message_id: UUID, domain: str) -> str:
    about = tenant_id.bytes + message_id.bytes
    code = base64.b32encode(about + _mac(ring.newest()[1], about)).decode().rstrip("=").lower()
    return f"b+{code}@{domain}"


def read_return_path(ring: KeyRing, address: str) -> tuple[UUID, UUID] | None:
    """Tenant and message; None for an address that is not one of ours. Any key of the ring may have made it."""
    code = address.rpartition("@")[0].lower().removeprefix("b+").upper()
    try:
        raw = base64.b32decode(code + "=" * (-len(code) % 8))
    except (binascii.Error, ValueError):
        return None
    about, mac = raw[:32], raw[32:]
    if len(mac) != _MAC or not any(hmac.compare_digest(mac, _mac(key, about)) for _, key in ring):
        return None
    return UUID(bytes=about[:16]), UUID(bytes=about[16:])


def _mac(key: bytes, about: bytes) -> bytes:
    return hmac.digest(key, _LABEL + about, hashlib.sha256)[:_MAC]
