"""Who may do what: rights, roles, permission groups, and the tables that join them. The generated tests read these.

identity resolves roles and permission groups to rights when it makes a token; the services only look for the right.
A right is `resource:verb[:scope]`; scopes are own, assigned (the caseload), unit and any.
"""

from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    TENANT_READ = "tenant:read"
    TENANT_WRITE = "tenant:write"
    TENANT_OWN = "tenant:own"
    """What only owners may: give and take the roles owner and admin, erase, transfer (E-18)."""
    MEMBERS_READ = "members:read"
    MEMBERS_CONTACT = "members:contact"
    """See e-mail and phone (A-22)."""
    MEMBERS_WRITE = "members:write"
    MEMBERS_INVITE = "members:invite"
    MEMBERS_REVOKE = "members:revoke"
    MEMBERS_LOCK = "members:lock"
    MEMBERS_DEACTIVATE = "members:deactivate"
    MEMBERS_DELETE = "members:delete"
    MEMBERS_CREDENTIALS = "members:credentials"
    """Set a local password for people without e-mail (T-11)."""
    HISTORY_READ = "history:read"
    ROLES_READ = "roles:read"
    ROLES_WRITE = "roles:write"
    CONNECTIONS_READ = "connections:read"
    CONNECTIONS_WRITE = "connections:write"
    SESSIONS_READ = "sessions:read"
    MAIL_READ = "mail:read"
    MAIL_RESEND = "mail:resend"
    MAIL_SETTINGS = "mail:settings"
    MESSAGES_WRITE = "messages:write"
    """Write direct messages (A-41)."""
    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_READ_ANY = "documents:read:any"
    """What uploaders have opened to admins (T-06: own_or_admin); never what is private."""
    DOCUMENTS_WRITE = "documents:write"
    DOCUMENTS_HAND_OVER = "documents:hand-over"
    """Decide what becomes of a leaver's documents, without seeing them."""
    DOCUMENTS_SETTINGS = "documents:settings"
    DOCUMENTS_BREAK_GLASS = "documents:break-glass"


class Role(StrEnum):
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"


class Group(StrEnum):
    """The permission groups that every tenant has from its first day."""

    COUNSELLOR = "counsellor"
    COORDINATOR = "coordinator"
    SUPERVISOR = "supervisor"


_P = Permission
_COUNSELLOR = {
    _P.TENANT_READ,
    _P.MEMBERS_READ,
    _P.MEMBERS_WRITE,
    _P.MEMBERS_INVITE,
    _P.MEMBERS_LOCK,
    _P.MEMBERS_DEACTIVATE,
    _P.MEMBERS_CREDENTIALS,
    _P.HISTORY_READ,
    _P.DOCUMENTS_READ,
    _P.DOCUMENTS_WRITE,
}
_SUPERVISOR = {_P.TENANT_READ, _P.MEMBERS_READ, _P.HISTORY_READ, _P.DOCUMENTS_READ}

GRANTED_BY_GROUP: dict[Group, frozenset[Permission]] = {
    Group.COUNSELLOR: frozenset(_COUNSELLOR),
    Group.COORDINATOR: frozenset(_COUNSELLOR | {_P.MEMBERS_REVOKE, _P.MAIL_READ, _P.MAIL_RESEND}),
    Group.SUPERVISOR: frozenset(_SUPERVISOR),
}

GRANTED_BY_ROLE: dict[Role, frozenset[Permission]] = {
    Role.MEMBER: frozenset(),
    Role.ADMIN: frozenset(Permission) - {Permission.TENANT_OWN},
    Role.OWNER: frozenset(Permission),
}


def rights_of(roles: Iterable[Role], groups: Iterable[Group]) -> frozenset[str]:
    """All rights that these roles and permission groups give together."""
    return frozenset().union(*(GRANTED_BY_ROLE[role] for role in roles), *(GRANTED_BY_GROUP[group] for group in groups))


def may_grant(giver_rights: Iterable[str], roles: Iterable[Role], groups: Iterable[Group]) -> bool:
    """Only owners give owner or admin; nobody gives a right that he lacks."""
    wanted, has = set(roles), frozenset(giver_rights)
    if wanted & {Role.OWNER, Role.ADMIN} and Permission.TENANT_OWN not in has:
        return False
    return rights_of(wanted, groups) <= has
