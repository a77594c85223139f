from datetime import datetime

from msgspec import Struct

from services.identity.passwords.schemas import Code
from services.identity.sessions.schemas import Password


class CodeIn(Struct, forbid_unknown_fields=True):
    code: Code


class AcceptIn(Struct, forbid_unknown_fields=True):
    """password: a new person's own. Who has an account signs in first, and sends none."""

    code: Code
    password: Password | None = None


class LookOut(Struct):
    """turn: new (send a password), sign_in, confirm (send none), or mismatch (somebody else is signed in)."""

    tenant: str
    slug: str
    address: str
    deadline: datetime
    turn: str


class AcceptedOut(Struct):
    """waits: why she cannot sign in yet."""

    slug: str
    waits: str | None
