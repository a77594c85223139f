from typing import Annotated

from msgspec import Meta, Struct

from services.identity.sessions.schemas import Slug


class TokenIn(Struct, forbid_unknown_fields=True):
    """slug: where several tenants are open."""

    slug: Slug | None = None


class TokenOut(Struct):
    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105


class RefreshIn(Struct, forbid_unknown_fields=True):
    refresh_token: Annotated[str, Meta(min_length=20, max_length=200)]


class RefreshOut(Struct):
    """The refresh token works once; present the new one next time."""

    access_token: str
    expires_in: int
    refresh_token: str
    token_type: str = "Bearer"  # noqa: S105
