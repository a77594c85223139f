from typing import Annotated

from msgspec import Meta, Struct

from services.identity.sessions.schemas import Password, Slug, Typed

Code = Annotated[str, Meta(min_length=1, max_length=400)]
"""What stands in a link that was mailed."""


class ForgotIn(Struct, forbid_unknown_fields=True):
    login: Typed
    slug: Slug | None = None


class ResetIn(Struct, forbid_unknown_fields=True):
    code: Code
    password: Password


class ChangeIn(Struct, forbid_unknown_fields=True):
    """current: left out only by who must change a password that was handed over."""

    new: Password
    current: Password | None = None
