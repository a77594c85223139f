from datetime import datetime

from msgspec import Struct

from services.identity.sessions.schemas import Password


class LocalCredentialIn(Struct, forbid_unknown_fields=True):
    """Typed twice (A-18). Hand it over through a protected channel, never by plain e-mail (A-19)."""

    password: Password
    password_again: Password


class LocalCredentialOut(Struct):
    """expires_at: by then it must have been used and changed."""

    set: bool
    must_change: bool
    set_at: datetime | None
    expires_at: datetime | None
