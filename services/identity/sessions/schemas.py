from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from libs.common.passwords import LONGEST

Typed = Annotated[str, Meta(min_length=1, max_length=320, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
"""A login name or an address, as somebody typed it: looked up, never written anywhere."""

Password = Annotated[str, Meta(min_length=1, max_length=4 * LONGEST)]
"""Taken verbatim; the policy decides."""

Slug = Annotated[str, Meta(min_length=1, max_length=63, pattern="^[a-z0-9-]+$")]


class SignInIn(Struct, forbid_unknown_fields=True):
    """slug: sign in at this tenant, by login name or address; without it by address, and choose."""

    login: Typed
    password: Password
    slug: Slug | None = None


class ChoiceOut(Struct):
    slug: str
    name: str
    opened: bool


class SignedInOut(Struct):
    """must_change: the password was handed over by staff; choose one of your own before anything else."""

    session_id: UUID
    must_change: bool
    tenant: str | None
    tenants: list[ChoiceOut]


class OpenIn(Struct, forbid_unknown_fields=True):
    slug: Slug


class SessionOut(Struct):
    id: UUID
    signed_in_at: datetime
    seen_at: datetime
    ends_at: datetime
    agent: str
    current: bool


class SessionsOut(Struct):
    items: list[SessionOut]
