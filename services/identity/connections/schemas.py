from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from libs.common.permissions import Group, Role
from libs.common.text import Line

Issuer = Annotated[
    str,
    Meta(
        min_length=9,
        max_length=500,
        pattern=r"^https?://[^\s?#@\x00-\x1f\x7f]+$(?!\n)",
        examples=["https://login.example.org"],
    ),
]
ClientId = Annotated[str, Meta(min_length=1, max_length=300, pattern=r"^[\x20-\x7e]+$(?!\n)")]
ClientSecret = Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"^[\x20-\x7e]+$(?!\n)")]
Scope = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$(?!\n)")]
Claim = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$(?!\n)")]
Admission = Literal["off", "invited", "automatic"]


class GroupMapping(Struct, forbid_unknown_fields=True):
    """Whoever is in the provider's group `value` gets these. owner is given by hand only."""

    value: Line
    roles: Annotated[list[Role], Meta(max_length=3)] = []
    permission_groups: Annotated[list[Group], Meta(max_length=20)] = []


class Mapping(Struct, forbid_unknown_fields=True):
    """Which claim is what. groups_claim null: the provider gives no roles."""

    email: Claim = "email"
    display_name: Claim = "name"
    locale: Claim = "locale"
    groups_claim: Claim | None = None
    groups: Annotated[list[GroupMapping], Meta(max_length=200)] = []


class ConnectionIn(Struct, forbid_unknown_fields=True):
    """name stands on the button. admission: who may come by it; see there."""

    name: Line
    issuer: Issuer
    client_id: ClientId
    client_secret: ClientSecret
    scopes: Annotated[list[Scope], Meta(max_length=20)] = field(default_factory=lambda: ["openid", "email", "profile"])
    admission: Admission = "invited"


class ConnectionChanges(Struct, forbid_unknown_fields=True):
    """What is left out stays. The issuer stays, too: another provider is another connection."""

    name: Line | UnsetType = UNSET
    client_id: ClientId | UnsetType = UNSET
    client_secret: ClientSecret | UnsetType = UNSET
    scopes: Annotated[list[Scope], Meta(max_length=20)] | UnsetType = UNSET
    admission: Admission | UnsetType = UNSET
    state: Literal["enabled", "disabled"] | UnsetType = UNSET


class PreviewIn(Struct, forbid_unknown_fields=True):
    """Claims as the provider would send them; mapping: one that is not saved yet, else the connection's own."""

    claims: dict[str, Any]
    mapping: Mapping | None = None


class PreviewOut(Struct):
    """roles and permission_groups null: nothing is said of groups, and nothing changes."""

    subject: str
    email: str | None
    display_name: str
    locale: str | None
    roles: list[str] | None
    permission_groups: list[str] | None
    groups: list[str] | None
    remarks: list[str]
    """Codes of what keeps her out, or will surprise."""


class ProviderOut(Struct):
    """As the provider described itself when it was asked last."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    algorithms: list[str]
    sends_issuer: bool
    discovered_at: datetime
    keys: int
    keys_at: datetime | None


class ConnectionOut(Struct):
    """redirect_uri, logout_uri, backchannel_logout_uri: to be copied into the provider. The secret is not shown."""

    id: UUID
    name: str
    state: str
    issuer: str
    client_id: str
    scopes: list[str]
    admission: str
    mapping: Mapping
    redirect_uri: str
    logout_uri: str
    backchannel_logout_uri: str
    setup_url: str
    provider: ProviderOut | None
    version: int


class ConnectionsOut(Struct):
    items: list[ConnectionOut]


class AttemptOut(Struct):
    """purpose: sign_in, test or connect. outcome: done, or the code of what went wrong; none while it is under way.
    claims and mapped: of a test only, and only of a good answer.
    """

    id: UUID
    at: datetime
    purpose: str
    outcome: str | None
    claims: dict[str, Any] | None
    mapped: PreviewOut | None


class AttemptsOut(Struct):
    """Of the last day, newest first."""

    items: list[AttemptOut]


class SubjectOut(Struct):
    """subject: the provider's id of the account that this member signs in with."""

    member_id: UUID
    subject: str
    bound_at: datetime
    seen_at: datetime | None
