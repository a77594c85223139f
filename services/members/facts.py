"""What is true of a member, and what follows from it: column, seat, guidance, what may be done next.

Three independent facts (life, access, blocks) and nothing else is a state. All functions are pure, and nothing else in
the product decides any of this.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from itertools import product
from typing import Final, Literal

import msgspec

from libs.common.errors import AppError
from libs.common.permissions import Group, Permission, Role, rights_of
from services.members import refusals

Life = Literal["present", "marked_deleted", "erasing", "anonymised", "erased"]
Access = Literal["none", "invited", "expired", "declined", "active", "revoked"]
Outside = Literal["before", "after", "no_seat"]
"""Of the dates: the entry is to come, the expiry is past, or the entry has come and no seat was free."""
Seat = Literal["reserved", "used"]
Column = Literal[
    "added", "invited", "active", "locked", "inactive", "revoked", "marked_deleted", "anonymised", "erased"
]
GuidanceCode = Literal[
    "invite", "invite_again", "wait", "fix_email", "ok", "wait_until", "unlock", "reactivate", "wait_for_entry",
    "buy_seat", "restore", "none",
]  # fmt: skip

COLUMNS: Final[tuple[Column, ...]] = Column.__args__  # type: ignore[attr-defined]
_LIVES: Final[tuple[Life, ...]] = Life.__args__  # type: ignore[attr-defined]
_ACCESSES: Final[tuple[Access, ...]] = Access.__args__  # type: ignore[attr-defined]
_OUTSIDES: Final[tuple[Outside, ...]] = Outside.__args__  # type: ignore[attr-defined]
DEFAULT_LIST: Final[tuple[Column, ...]] = ("added", "invited", "active", "locked", "revoked")
"""Row *in the default list* of the status matrix: the others are shown by filter."""

UNDELIVERABLE = frozenset({"bounced", "complained", "suppressed", "failed"})
"""States of the invitation's mail that only another address helps."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Design section 2. The counters only ever rise."""

    life: Life = "present"
    deleted_until: datetime | None = None
    access: Access = "none"
    locked: bool = False
    locked_until: datetime | None = None
    deactivated: bool = False
    outside: Outside | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    login_due_at: datetime | None = None
    """T-05: reactivated by staff; without a sign-in by then the member is deactivated again."""
    generation: int = 0
    epoch: int = 0
    cut: int = 0


class Guidance(msgspec.Struct, frozen=True):
    """What to do next, as a code; clients have the words."""

    code: GuidanceCode
    until: datetime | None = None


class Action(StrEnum):
    """Commands on a member. A new one needs a right and a line in refusal()."""

    EDIT = "edit"
    INVITE = "invite"
    READDRESS = "readdress"
    PRESETS = "presets"
    LOCAL_ACCESS = "local_access"
    REVOKE = "revoke"
    LOCK = "lock"
    UNLOCK = "unlock"
    DEACTIVATE = "deactivate"
    REACTIVATE = "reactivate"
    DATES = "dates"
    DELETE = "delete"
    RESTORE = "restore"


RIGHT: Final = {
    Action.EDIT: Permission.MEMBERS_WRITE,
    Action.INVITE: Permission.MEMBERS_INVITE,
    Action.READDRESS: Permission.MEMBERS_INVITE,
    Action.PRESETS: Permission.MEMBERS_INVITE,
    Action.LOCAL_ACCESS: Permission.MEMBERS_CREDENTIALS,
    Action.REVOKE: Permission.MEMBERS_REVOKE,
    Action.LOCK: Permission.MEMBERS_LOCK,
    Action.UNLOCK: Permission.MEMBERS_LOCK,
    Action.DEACTIVATE: Permission.MEMBERS_DEACTIVATE,
    Action.REACTIVATE: Permission.MEMBERS_DEACTIVATE,
    Action.DATES: Permission.MEMBERS_WRITE,
    Action.DELETE: Permission.MEMBERS_DELETE,
    Action.RESTORE: Permission.MEMBERS_DELETE,
}
_ENDS_ACCESS = frozenset({Action.REVOKE, Action.LOCK, Action.DEACTIVATE, Action.DELETE})
_MOVES_ACCESS = _ENDS_ACCESS | {Action.UNLOCK, Action.REACTIVATE, Action.DATES}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What allowed actions depend on: few enough values that whole pages share them."""

    life: Life
    access: Access
    mailed: bool
    """The invitation went, or will go, by mail."""
    locked: bool
    deactivated: bool
    outside: Outside | None
    owner: bool
    """An owner, or the first one who has not accepted yet: operators alone may touch that invitation."""
    has_email: bool
    is_self: bool
    may_more: bool = False
    """She has a right that the actor lacks."""


class AllowedAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """reason: the code of the problem that the command would answer."""

    action: Action
    allowed: bool
    reason: str | None = None


def column(facts: Facts) -> Column:
    """The first column of the status matrix that applies."""
    if facts.life in ("erased", "anonymised"):
        return facts.life
    if facts.life != "present":
        return "marked_deleted"
    if facts.locked:
        return "locked"
    if facts.deactivated or facts.outside:
        return "inactive"
    if facts.access in ("revoked", "active", "invited"):
        return facts.access
    return "added"


def seat(facts: Facts) -> Seat | None:
    """R-08: a lock keeps the seat, an invitation reserves one whatever the dates say."""
    if facts.life != "present":
        return None
    if facts.access == "invited":
        return "reserved"
    if facts.access == "active" and not facts.deactivated and not facts.outside:
        return "used"
    return None


def guidance(facts: Facts, mail_state: str | None = None) -> Guidance:
    """E-10 to E-14. Someone who comes later is invited like everybody else, and then waited for."""
    match column(facts):
        case "marked_deleted" if facts.life == "marked_deleted":
            return Guidance("restore", facts.deleted_until)
        case "erased" | "anonymised" | "marked_deleted":
            return Guidance("none")
        case "locked":
            return Guidance("wait_until", facts.locked_until) if facts.locked_until else Guidance("unlock")
        case "inactive" if facts.deactivated or facts.outside == "after":
            return Guidance("reactivate")
        case "inactive" if facts.outside == "no_seat":
            return Guidance("buy_seat")
        case "inactive" if facts.access == "active":
            return Guidance("wait_for_entry", facts.starts_at)
    match facts.access:
        case "active":
            return Guidance("ok")
        case "invited":
            return Guidance("fix_email" if mail_state in UNDELIVERABLE else "wait")
        case "expired" | "declined":
            return Guidance("invite_again")
        case _:
            return Guidance("invite")


@cache
def combinations() -> frozenset[tuple[Column, Access, GuidanceCode]]:
    """Which column, access and guidance go together at all: nobody is active and to be invited.

    The list looks nowhere else. So whoever changes column() or guidance() derives the members anew who are there.
    """
    end = datetime.max.replace(tzinfo=UTC)
    found = set()
    for life, access in product(_LIVES, _ACCESSES):
        for until, deactivated, outside in product((None, end), (False, True), (None, *_OUTSIDES)):
            for locked, mail in product((False, True), ("sent", "bounced")):
                facts = Facts(
                    life=life,
                    access=access,
                    locked=locked,
                    locked_until=until,
                    deactivated=deactivated,
                    outside=outside,
                )
                found.add((column(facts), access, guidance(facts, mail).code))
    return frozenset(found)


def account(access: Access, mail_state: str | None, has_signed_in: bool) -> str:
    """A-04 to A-06: the list's column *account*. Nothing is called sent before a mail server took it."""
    if has_signed_in:
        return "last_login"
    if access == "invited" and mail_state in ("sent", "delivered", "bounced", "complained"):
        return "invitation_sent"
    return "no_access"


def outside_of(starts_at: datetime | None, ends_at: datetime | None, now: datetime) -> Outside | None:
    """R-22: both ends are exact; the entry belongs to the time inside, the expiry does not."""
    if ends_at is not None and ends_at <= now:
        return "after"
    if starts_at is not None and starts_at > now:
        return "before"
    return None


def due_at(facts: Facts, *, owner: bool) -> datetime | None:
    """When a clock has to look at this member next. An owner's expiry does not come (R-09)."""
    if facts.life != "present":
        return None
    clocks = [
        facts.locked_until if facts.locked else None,
        facts.starts_at if facts.outside == "before" else None,
        facts.ends_at if facts.outside != "after" and not owner else None,
        facts.login_due_at,
    ]
    return min((clock for clock in clocks if clock is not None), default=None)


def blocks(facts: Facts) -> list[Literal["locked", "deactivated", "outside_dates", "marked_deleted"]]:
    """As identity is told. Erasing and what follows is `want: gone`."""
    found: list[Literal["locked", "deactivated", "outside_dates", "marked_deleted"]] = []
    if facts.locked:
        found.append("locked")
    if facts.deactivated:
        found.append("deactivated")
    if facts.outside:
        found.append("outside_dates")
    if facts.life == "marked_deleted":
        found.append("marked_deleted")
    return found


def refusal(action: Action, at: Standing) -> type[AppError] | None:
    """Why this cannot be done to a member who stands so; None where it can. Rights, seats and limits come on top."""
    if action is Action.RESTORE:
        return None if at.life == "marked_deleted" else refusals.NotMarkedDeleted
    if at.life != "present":
        return refusals.NotPresent
    if action in _ENDS_ACCESS and at.is_self:
        return refusals.IsSelf
    if action in _ENDS_ACCESS and at.owner:
        return refusals.IsOwner
    if action is Action.DATES and at.is_self and not at.owner:
        return refusals.IsSelf  # whose access ends by itself does not put it off; an owner's does not end
    if action in _MOVES_ACCESS and at.may_more and not at.owner:
        return refusals.MayMore
    match action:
        case Action.INVITE | Action.READDRESS | Action.LOCAL_ACCESS:
            return _refused_access(action, at)
        case Action.PRESETS if at.access == "active":
            return refusals.AlreadyMember
        case Action.PRESETS if at.owner:
            return refusals.IsOwner
        case Action.REVOKE if at.access not in ("invited", "active"):
            return refusals.NoAccess
        case Action.UNLOCK if not at.locked:
            return refusals.NotLocked
        case Action.DEACTIVATE if at.deactivated:
            return refusals.AlreadyDeactivated
        case Action.REACTIVATE if not at.deactivated and at.outside != "no_seat":
            return refusals.NotDeactivated
    return None


def _refused_access(action: Action, at: Standing) -> type[AppError] | None:
    if at.access == "active":
        return refusals.AlreadyMember
    if at.locked or at.deactivated or at.outside == "after":
        return refusals.Blocked
    if action is Action.READDRESS:
        if at.access != "invited" or not at.mailed:
            return refusals.NotInvited
        return refusals.IsOwner if at.owner else None
    if action is Action.LOCAL_ACCESS:
        if at.access == "invited":
            return refusals.InvitationOpen
        return refusals.HasEmail if at.has_email else None
    return None if at.has_email else refusals.EmailMissing


def may_more(roles: Iterable[str], groups: Iterable[str], rights: Iterable[str]) -> bool:
    """Whether these roles and permission groups give a right that is not among the rights."""
    return not rights_of(map(Role, roles), map(Group, groups)) <= frozenset(rights)


@lru_cache(4096)
def allowed_actions(at: Standing, rights: frozenset[str]) -> tuple[AllowedAction, ...]:
    """E-04: every command, and for those that are not possible why."""
    return tuple(_allowed(action, at, rights) for action in Action)


def _allowed(action: Action, at: Standing, rights: Iterable[str]) -> AllowedAction:
    reason = refusals.NoRight if RIGHT[action] not in rights else refusal(action, at)
    return AllowedAction(action, reason is None, reason.code() if reason else None)
