from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from libs.common.text import Address, Line
from services.members.people.schemas import Hours, Locale, LoginName
from services.members.seats.schemas import SeatsOut

Slug = Annotated[str, Meta(min_length=2, max_length=40, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)", examples=["acme"])]
TimeZone = Annotated[str, Meta(max_length=60, examples=["Europe/Berlin"])]
Colour = Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}$(?!\n)", examples=["#336699"])]
Web = Annotated[
    str, Meta(max_length=500, pattern=r"^https?://[!-;=?-~]+$(?!\n)", examples=["https://www.example.org/imprint"])
]
SeatLimit = Annotated[int, Meta(ge=1, le=10_000_000)]
MailClass = Literal["new", "normal", "trusted"]
State = Literal["open", "closed"]


class TenantOut(Struct):
    """The tenant's own view: who it is and how it works."""

    id: UUID
    slug: str
    name: str
    locale: str
    time_zone: str
    colour: str | None
    imprint_url: str | None
    privacy_url: str | None
    invitation_hours: int
    invite_on_create: bool
    email_required: bool
    renewal_allowed: bool
    local_access: bool
    reactivation_hours: int
    retention_days: int
    state: State
    seats: SeatsOut
    version: int


class TenantPatch(Struct, forbid_unknown_fields=True, kw_only=True):
    name: Line | UnsetType = UNSET
    locale: Locale | UnsetType = UNSET
    time_zone: TimeZone | UnsetType = UNSET
    colour: Colour | UnsetType | None = UNSET
    imprint_url: Web | UnsetType | None = UNSET
    privacy_url: Web | UnsetType | None = UNSET
    invitation_hours: Hours | UnsetType = UNSET
    """How long invitation links are valid, unless the invitation says otherwise (T-01)."""
    invite_on_create: bool | UnsetType = UNSET
    """Adding a member invites her, where she can be (T-02)."""
    email_required: bool | UnsetType = UNSET
    renewal_allowed: bool | UnsetType = UNSET
    """A lapsed invitation is sent again when she asks for it (D-21); otherwise staff get a task."""
    local_access: bool | UnsetType = UNSET
    """Staff may set a first password for people without e-mail (T-11)."""
    reactivation_hours: Annotated[int, Meta(ge=1, le=7 * 24)] | UnsetType = UNSET
    """Who is reactivated has so long to sign in (T-05)."""
    retention_days: Annotated[int, Meta(ge=0, le=400)] | UnsetType = UNSET
    """How long who is marked deleted can be restored (T-08)."""


class OwnerIn(Struct, forbid_unknown_fields=True, kw_only=True):
    email: Address
    login_name: LoginName | None = None
    """Otherwise what stands before the @."""
    display_name: Line | None = None


class OperatorTenantIn(Struct, forbid_unknown_fields=True, kw_only=True):
    slug: Slug
    name: Line
    locale: Locale
    seats: SeatLimit
    owner: OwnerIn
    time_zone: TimeZone = "Europe/Berlin"


class OperatorTenantOut(Struct):
    """What operators see of a tenant."""

    id: UUID
    created_at: datetime
    slug: str
    name: str
    locale: str
    time_zone: str
    state: State
    mail_class: MailClass
    seats: SeatsOut
    version: int


class OperatorTenantPatch(Struct, forbid_unknown_fields=True, kw_only=True):
    seats: SeatLimit | UnsetType = UNSET
    mail_class: MailClass | UnsetType = UNSET
    """How many people may be invited: new 200 a day, normal 1,000 in 10 minutes, trusted without limit (R-28)."""
    state: State | UnsetType = UNSET


class OwnerAddressIn(Struct, forbid_unknown_fields=True, kw_only=True):
    email: Address
