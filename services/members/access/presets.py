"""What an invitation presets: roles and permission groups that become grants when it is accepted, groups and tags."""

from collections.abc import Sequence

import msgspec

from libs.common.permissions import Group, Permission, Role, may_grant, rights_of
from libs.common.tokens import Actor
from services.members.people.tables import Member
from services.members.refusals import MayNotGrant


class Presets(msgspec.Struct, frozen=True):
    """Everybody is a member; the rest comes on top."""

    roles: Sequence[Role] = ()
    permission_groups: Sequence[Group] = ()
    groups: Sequence[str] = ()
    tags: Sequence[str] = ()


def stand_for(actor: Actor, member: Member, presets: Presets | None = None) -> None:
    """Whoever invites stands for all that the invitation gives, also for what somebody else had preset.

    Raises MayNotGrant. The system renews for whoever stood for it before, an operator for a tenant's first owner.
    """
    if actor.kind in ("system", "operator") and presets is None:
        return
    if presets is not None:
        require_may_grant(actor, member)  # what is taken away, too
        member.preset_roles = sorted({Role.MEMBER, *presets.roles})
        member.preset_permission_groups = sorted(set(presets.permission_groups))
        member.preset_groups = sorted(set(presets.groups))
        member.preset_tags = sorted(set(presets.tags))
    elif not member.preset_roles:
        member.preset_roles = [Role.MEMBER]
    require_may_grant(actor, member)
    roles, groups = _given(member)
    member.granted_by = actor.id
    member.granted_rights = sorted((rights_of(roles, groups) | _to_make_staff(roles)) & actor.rights)


def clear(member: Member) -> None:
    """Who is revoked comes back with what the next invitation gives, and no more."""
    member.preset_roles, member.preset_permission_groups = [], []
    member.preset_groups, member.preset_tags = [], []
    member.granted_by, member.granted_rights = None, []


def require_may_grant(actor: Actor, member: Member) -> None:
    """Raises MayNotGrant where the invitation gives, or gave, what the actor could not give."""
    if not may_grant(actor.rights, *_given(member)):
        raise MayNotGrant(roles=member.preset_roles, permission_groups=member.preset_permission_groups)


def _given(member: Member) -> tuple[list[Role], list[Group]]:
    return [Role(role) for role in member.preset_roles], [Group(group) for group in member.preset_permission_groups]


def _to_make_staff(roles: Sequence[Role]) -> frozenset[str]:
    """Of the giver's rights no more is told than identity needs to check may_grant again."""
    return frozenset({Permission.TENANT_OWN} if {Role.OWNER, Role.ADMIN} & set(roles) else ())
