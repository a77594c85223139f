"""What members tells the others: tenants, people's data, and the access that each member shall have."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from libs.common.changes import Event


class TenantSaved(Event, frozen=True):
    """The tenant as it now is."""

    name: ClassVar[str] = "members.tenant.saved.v1"

    slug: str
    display_name: str
    locale: str
    time_zone: str
    state: Literal["open", "closed"]
    colour: str | None = None
    imprint_url: str | None = None
    privacy_url: str | None = None
    mail_class: Literal["new", "normal", "trusted"] = "new"


class MemberSaved(Event, frozen=True):
    """What others need of a member's profile: who mails her and what stands on her file."""

    name: ClassVar[str] = "members.member.saved.v1"
    counter: ClassVar[str] = "profile_version"

    login_name: str
    display_name: str
    email: str | None
    locale: str | None
    life: Literal["present", "marked_deleted", "erasing", "anonymised", "erased"]


class AccessWanted(Event, frozen=True):
    """The whole wanted state of a member's access: a level, not an edge, so that repetition and order do not matter.

    Applied only where access_version is newer. epoch ends everything older; cut ends sessions and keys; generation
    kills older links. blocked holds while it is non-empty: identity's clock lifts nothing, it only ends access at
    ends_at and keeps people waiting for starts_at.
    """

    name: ClassVar[str] = "members.member.access.v1"
    counter: ClassVar[str] = "access_version"

    access_version: int
    epoch: int
    generation: int
    cut: int
    want: Literal["nothing", "invited", "gone"]
    way: Literal["mail", "sso", "local"]
    blocked: list[Literal["locked", "deactivated", "outside_dates", "marked_deleted"]]
    locked_until: datetime | None
    starts_at: datetime | None
    ends_at: datetime | None
    login_name: str
    display_name: str
    email: str | None
    locale: str | None
    deadline: datetime | None
    roles: list[str]
    permission_groups: list[str]
    granted_by: UUID | None
    granted_rights: list[str]
    """The rights of who gave the presets, so that identity checks may_grant again."""
    first_owner: bool = False
    """An operator presets owner, once, for a tenant's first."""
    sso_key: str | None = None


class MemberErasing(Event, frozen=True):
    """A saga has begun that has no way back: erase what you hold, keep a tombstone, confirm with counts."""

    name: ClassVar[str] = "members.member.erasing.v1"
    counter: ClassVar[str] = "access_version"

    certificate_id: UUID


class MemberErased(Event, frozen=True):
    """All four services have confirmed (B-30: who asked for it is told)."""

    name: ClassVar[str] = "members.member.erased.v1"
    counter: ClassVar[str] = "access_version"

    certificate_id: UUID
    requested_by: UUID | None


class GroupMemberSaved(Event, frozen=True):
    """Whether a member is in a group: a level for each pair, so that repetition and order do not matter."""

    name: ClassVar[str] = "members.group_member.saved.v1"

    group_id: UUID
    member_id: UUID
    inside: bool


class WorkerBeat(Event, frozen=True):
    """Every ten seconds, through outbox and relay like any event (tenant zero): while beats arrive, so do revocations.

    identity mints no access token when the newest one it has consumed is over 30 seconds old.
    """

    name: ClassVar[str] = "members.worker.beat.v1"
    counter: ClassVar[str] = "version"

    at: datetime
