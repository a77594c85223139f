from datetime import datetime
from uuid import UUID

from msgspec import Struct

from libs.common.permissions import Group, Role


class RolesIn(Struct, forbid_unknown_fields=True):
    """What the member has by hand from now on. Grants of SSO and SCIM stay theirs; everybody is a member."""

    roles: list[Role]
    permission_groups: list[Group]


class GrantOut(Struct):
    kind: str
    name: str
    source: str
    granted_by: UUID | None
    granted_at: datetime
    ends_at: datetime | None
    connection_id: UUID | None
    """Of the source sso: the connection whose groups give it."""


class RolesOut(Struct):
    roles: list[str]
    permission_groups: list[str]
    grants: list[GrantOut]


class AccessOut(Struct):
    """Why the member may do what she may, and why she cannot sign in, if so (R-15)."""

    state: str
    barred_by: str | None
    blocked: list[str]
    starts_at: datetime | None
    ends_at: datetime | None
    credential: str | None
    grants: list[GrantOut]
    rights: dict[str, list[str]]
    """Each right, and the names of the grants that give it."""
