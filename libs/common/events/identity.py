"""What identity tells the others: invitations, memberships, sign-ins."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from libs.common.changes import Event

Reason = Literal["accepted", "expired", "declined", "replaced", "revoked"]


class InvitationIssued(Event, frozen=True):
    """A link is to be mailed. Carries all that the mail needs and no secret: the sender derives the code."""

    name: ClassVar[str] = "identity.invitation.issued.v1"
    counter: ClassVar[str] = "generation"

    invitation_id: UUID
    member_id: UUID
    epoch: int
    generation: int
    email: str
    display_name: str
    tenant_name: str
    slug: str
    locale: str
    deadline: datetime


class InvitationEnded(Event, frozen=True):
    """The only event that ends an invitation of one generation; it cancels queued mail of that generation."""

    name: ClassVar[str] = "identity.invitation.ended.v1"
    counter: ClassVar[str] = "generation"

    invitation_id: UUID
    member_id: UUID
    epoch: int
    generation: int
    reason: Reason


class RenewalAsked(Event, frozen=True):
    """A person asked for a new link on the expired page or by *forgot password* (D-21)."""

    name: ClassVar[str] = "identity.invitation.renewal_asked.v1"
    counter: ClassVar[str] = "generation"

    member_id: UUID
    epoch: int
    generation: int


class GrantsRefused(Event, frozen=True):
    """Presets that may_grant refused when the invitation was issued or accepted."""

    name: ClassVar[str] = "identity.membership.grants_refused.v1"
    counter: ClassVar[str] = "av"

    member_id: UUID
    roles: list[str]
    permission_groups: list[str]


class MembershipActivated(Event, frozen=True):
    """She can sign in. holder rises when another human holds the membership than before."""

    name: ClassVar[str] = "identity.membership.activated.v1"
    counter: ClassVar[str] = "av"

    member_id: UUID
    epoch: int
    generation: int
    holder: int
    way: Literal["mail", "sso", "local"]


class MembershipEnded(Event, frozen=True):
    """The membership of this epoch is over: sessions and keys are gone."""

    name: ClassVar[str] = "identity.membership.ended.v1"
    counter: ClassVar[str] = "av"

    member_id: UUID
    epoch: int
    holder: int


class SuspensionRefused(Event, frozen=True):
    """The last owner stays able to sign in; members restores what it took away (R-09)."""

    name: ClassVar[str] = "identity.membership.suspension_refused.v1"
    counter: ClassVar[str] = "av"

    member_id: UUID
    epoch: int
    holder: int


class SignedIn(Event, frozen=True):
    name: ClassVar[str] = "identity.membership.signed_in.v1"
    counter: ClassVar[str] = "av"

    member_id: UUID
    at: datetime


class RolesChanged(Event, frozen=True):
    """The roles and permission groups that a member now has."""

    name: ClassVar[str] = "identity.membership.roles_changed.v1"
    counter: ClassVar[str] = "av"

    member_id: UUID
    epoch: int
    roles: list[str]
    permission_groups: list[str]


class PasswordResetAsked(Event, frozen=True):
    """A person-level mail (tenant zero): row_id is the person."""

    name: ClassVar[str] = "identity.person.password_reset_asked.v1"
    counter: ClassVar[str] = "reset_generation"

    person_id: UUID
    generation: int
    email: str
    display_name: str
    locale: str
    deadline: datetime
    slug: str | None = None


class PasswordChanged(Event, frozen=True):
    """A security notice to the person (tenant zero)."""

    name: ClassVar[str] = "identity.person.password_changed.v1"
    counter: ClassVar[str] = "reset_generation"

    person_id: UUID
    email: str
    display_name: str
    locale: str
