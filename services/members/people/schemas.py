from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from libs.common.permissions import Group, Permission, Role
from libs.common.text import Address, Line
from libs.common.tokens import Actor
from services.members.access.presets import Presets
from services.members.facts import (
    Access,
    AllowedAction,
    Column,
    Guidance,
    Life,
    Standing,
    account,
    allowed_actions,
    may_more,
)
from services.members.moments import Moment
from services.members.people.tables import NEVER, Member

LoginName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=r"^(?! )[^@\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]*(?<! )$(?!\n)",
        description="unique in the tenant whatever its case; no @, so that it cannot be taken for an address",
        examples=["bob"],
    ),
]
Phone = Annotated[str, Meta(min_length=3, max_length=40, pattern=r"^[0-9+()/. -]+$(?!\n)", examples=["+49 30 123456"])]
Locale = Annotated[str, Meta(pattern=r"^[a-z]{2}(-[A-Z]{2})?$(?!\n)", examples=["de"])]
Hours = Annotated[
    int, Meta(ge=1, le=90 * 24, description="how long the link is valid; else the tenant's setting (T-01)")
]
Labels = Annotated[list[Line], Meta(max_length=50)]


class PresetsIn(Struct, frozen=True, forbid_unknown_fields=True):
    """What she is given when she accepts. Everybody is a member; further roles and permission groups come on top."""

    roles: Annotated[list[Role], Meta(max_length=10)] = []
    permission_groups: Annotated[list[Group], Meta(max_length=50)] = []
    groups: Labels = []
    tags: Labels = []

    def presets(self) -> Presets:
        return Presets(self.roles, self.permission_groups, self.groups, self.tags)


class MemberIn(Struct, forbid_unknown_fields=True, kw_only=True):
    login_name: LoginName
    display_name: Line
    email: Address | None = None
    phone: Phone | None = None
    locale: Locale | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    invite: bool | None = None
    """Send the invitation at once; else the tenant's setting (T-02)."""
    invitation_hours: Hours | None = None
    presets: PresetsIn | None = None


class MemberPatch(Struct, forbid_unknown_fields=True, kw_only=True):
    login_name: LoginName | UnsetType = UNSET
    display_name: Line | UnsetType = UNSET
    email: Address | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET
    locale: Locale | UnsetType | None = UNSET


class InvitationOut(Struct):
    """The newest one. mail_state: of its mail, as far as it is known."""

    generation: int
    way: str
    invited_at: datetime | None
    deadline: datetime | None
    mail_state: str | None
    mail_reason: str | None


class PresetsOut(Struct):
    roles: list[str]
    permission_groups: list[str]
    groups: list[str]
    tags: list[str]


class BlocksOut(Struct):
    """outside_dates: before (the entry is to come), after (the expiry is past), no_seat (none was free on entry)."""

    locked: bool
    locked_until: datetime | None
    lock_reason: str | None
    deactivated: bool
    outside_dates: str | None


class MemberOut(Struct):
    """e-mail and phone are there only for those who may see them."""

    id: UUID
    login_name: str
    display_name: str
    locale: str | None
    column: Column
    guidance: Guidance
    account: str
    """last_login, invitation_sent or no_access."""
    last_login_at: datetime | None
    life: Life
    deleted_until: datetime | None
    access: Access
    blocks: BlocksOut
    starts_at: datetime | None
    ends_at: datetime | None
    login_due_at: datetime | None
    """After a reactivation by staff: without a sign-in by then she is deactivated again (T-05)."""
    invitation: InvitationOut | None
    presets: PresetsOut
    roles: list[str]
    permission_groups: list[str]
    allowed_actions: tuple[AllowedAction, ...]
    created_at: datetime
    version: int
    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET


# The columns that a MemberOut is made of, in no particular order.
SHOWN = (
    "id", "login_name", "display_name", "locale", "column", "guidance", "guidance_until", "last_login_at", "life",
    "deleted_until", "access", "locked", "locked_until", "lock_reason", "deactivated", "outside", "starts_at",
    "ends_at",
    "login_due_at", "generation", "way", "invited_at", "deadline", "mail_state", "mail_reason", "preset_roles",
    "preset_permission_groups", "preset_groups", "preset_tags", "roles", "permission_groups", "first_owner",
    "created_at", "version", "email", "phone",
)  # fmt: skip


def shown(member: Member, actor: Actor) -> MemberOut:
    return shown_row({name: getattr(member, name) for name in SHOWN}, actor)


def shown_row(row: Mapping[str, Any], actor: Actor) -> MemberOut:
    """A row with the columns SHOWN, as this actor may see it."""
    sees_contact = Permission.MEMBERS_CONTACT in actor.rights
    access, last_login_at = row["access"], row["last_login_at"]
    has_signed_in = last_login_at > NEVER
    standing = Standing(
        life=row["life"],
        access=access,
        mailed=row["way"] == "mail",
        locked=row["locked"],
        deactivated=row["deactivated"],
        outside=row["outside"],
        owner=row["first_owner"] or "owner" in row["roles"],
        has_email=row["email"] is not None,
        is_self=row["id"] == actor.id,
        may_more=may_more(row["roles"], row["permission_groups"], actor.rights),
    )
    return MemberOut(
        id=row["id"],
        login_name=row["login_name"],
        display_name=row["display_name"],
        locale=row["locale"],
        column=row["column"],
        guidance=Guidance(row["guidance"], row["guidance_until"]),
        account=account(access, row["mail_state"], has_signed_in),
        last_login_at=last_login_at if has_signed_in else None,
        life=row["life"],
        deleted_until=row["deleted_until"],
        access=access,
        blocks=BlocksOut(row["locked"], row["locked_until"], row["lock_reason"], row["deactivated"], row["outside"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        login_due_at=row["login_due_at"],
        invitation=_invitation(row) if row["generation"] else None,
        presets=PresetsOut(
            row["preset_roles"], row["preset_permission_groups"], row["preset_groups"], row["preset_tags"]
        ),
        roles=row["roles"],
        permission_groups=row["permission_groups"],
        allowed_actions=allowed_actions(standing, actor.rights),
        created_at=row["created_at"],
        version=row["version"],
        email=row["email"] if sees_contact else UNSET,
        phone=row["phone"] if sees_contact else UNSET,
    )


def _invitation(row: Mapping[str, Any]) -> InvitationOut:
    return InvitationOut(
        row["generation"], row["way"], row["invited_at"], row["deadline"], row["mail_state"], row["mail_reason"]
    )
