from typing import Annotated

from msgspec import Meta, Struct

from services.identity.sessions.schemas import Password, Typed


class OperatorSignInIn(Struct, forbid_unknown_fields=True):
    """new_password: at the first sign-in, instead of the one that the command line printed."""

    address: Typed
    password: Password
    totp: Annotated[str, Meta(min_length=6, max_length=10)]
    new_password: Password | None = None


class OperatorTokenIn(Struct, forbid_unknown_fields=True):
    session: Annotated[str, Meta(min_length=20, max_length=200)]


class OperatorTokenOut(Struct):
    """session: present it at /operator/token for another access token, for eight hours."""

    access_token: str
    expires_in: int
    session: str
    token_type: str = "Bearer"  # noqa: S105
