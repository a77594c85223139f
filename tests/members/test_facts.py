"""The facts machine as a table: requirements part 3 (status-effect matrix), design section 2 (commands)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.permissions import Permission
from services.members import facts as f
from services.members.facts import Action, Facts, Guidance, Standing

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def facts(**values: Any) -> Facts:
    return Facts(**values)


ACTIVE = facts(access="active")
# What is true, and then: column, seat, guidance.
MATRIX: dict[str, tuple[Facts, str, str | None, str]] = {
    "added": (facts(), "added", None, "invite"),
    "expired": (facts(access="expired"), "added", None, "invite_again"),
    "declined": (facts(access="declined"), "added", None, "invite_again"),
    "invited": (facts(access="invited"), "invited", "reserved", "wait"),
    "active": (ACTIVE, "active", "used", "ok"),
    "revoked": (facts(access="revoked"), "revoked", None, "invite"),
    "locked for good": (facts(access="active", locked=True), "locked", "used", "unlock"),
    "locked until": (facts(access="active", locked=True, locked_until=LATER), "locked", "used", "wait_until"),
    "locked and invited": (facts(access="invited", locked=True), "locked", "reserved", "unlock"),
    "locked and never invited": (facts(locked=True), "locked", None, "unlock"),
    "locked and deactivated": (facts(access="active", locked=True, deactivated=True), "locked", None, "unlock"),
    "deactivated": (facts(access="active", deactivated=True), "inactive", None, "reactivate"),
    "deactivated and invited": (facts(access="invited", deactivated=True), "inactive", "reserved", "reactivate"),
    "past the expiry": (facts(access="active", outside="after", ends_at=NOW), "inactive", None, "reactivate"),
    "entered without a seat": (facts(access="active", outside="no_seat"), "inactive", None, "buy_seat"),
    "before the entry": (facts(access="active", outside="before", starts_at=LATER), "inactive", None, "wait_for_entry"),
    "added for later": (facts(outside="before", starts_at=LATER), "inactive", None, "invite"),
    "invited for later": (facts(access="invited", outside="before", starts_at=LATER), "inactive", "reserved", "wait"),
    "marked deleted": (
        facts(access="active", life="marked_deleted", deleted_until=LATER),
        "marked_deleted",
        None,
        "restore",
    ),
    "erasing": (facts(access="active", life="erasing"), "marked_deleted", None, "none"),
    "anonymised": (facts(access="active", life="anonymised"), "anonymised", None, "none"),
    "erased": (facts(life="erased"), "erased", None, "none"),
}


@pytest.mark.parametrize("case", MATRIX)
def test_column_seat_and_guidance_follow_from_the_facts(case: str) -> None:
    """E-10, E-11, E-12, E-13, E-14, R-08, T-04, D-20: the first column that applies; seats by the formula."""
    known, column, seat, code = MATRIX[case]
    assert (f.column(known), f.seat(known), f.guidance(known).code) == (column, seat, code)


def test_only_what_goes_together_is_looked_for() -> None:
    """R-29: the list leaves out columns in which nobody can fit its filter."""
    for known, column, _, code in MATRIX.values():
        assert (column, known.access, code) in f.combinations()
    assert {access for column, access, _ in f.combinations() if column == "active"} == {"active"}
    assert {column for column, _, code in f.combinations() if code == "invite_again"} == {"added", "inactive"}


def test_guidance_says_until_when() -> None:
    assert f.guidance(MATRIX["locked until"][0]) == Guidance("wait_until", LATER)
    assert f.guidance(MATRIX["marked deleted"][0]) == Guidance("restore", LATER)
    assert f.guidance(MATRIX["before the entry"][0]) == Guidance("wait_for_entry", LATER)


@pytest.mark.parametrize("state", ["bounced", "complained", "suppressed", "failed"])
def test_an_invitation_that_cannot_arrive_asks_for_another_address(state: str) -> None:
    """D-31, R-19"""
    assert f.guidance(facts(access="invited"), state).code == "fix_email"
    assert f.guidance(ACTIVE, state).code == "ok"


@pytest.mark.parametrize(
    ("access", "mail_state", "signed_in", "shown"),
    [
        ("active", None, True, "last_login"),
        ("invited", None, True, "last_login"),
        ("invited", "sent", False, "invitation_sent"),
        ("invited", "delivered", False, "invitation_sent"),
        ("invited", "queued", False, "no_access"),
        ("invited", None, False, "no_access"),
        ("none", None, False, "no_access"),
        ("active", "sent", False, "no_access"),
    ],
)
def test_the_account_column_has_three_values(access: Any, mail_state: str, signed_in: bool, shown: str) -> None:
    """A-04, A-05, A-06: last login, invitation sent (not before a server took it), or no access."""
    assert f.account(access, mail_state, signed_in) == shown


@pytest.mark.parametrize(
    ("starts", "ends", "outside"),
    [
        (None, None, None),
        (NOW, None, None),
        (LATER, None, "before"),
        (None, LATER, None),
        (None, NOW, "after"),
        (NOW - timedelta(days=2), NOW - timedelta(days=1), "after"),
    ],
)
def test_the_entry_is_inside_and_the_expiry_is_not(starts: datetime, ends: datetime, outside: str | None) -> None:
    """C-41, C-75"""
    assert f.outside_of(starts, ends, NOW) == outside


@pytest.mark.parametrize(
    ("known", "owner", "due"),
    [
        (facts(locked=True, locked_until=LATER), False, LATER),
        (facts(locked_until=None, locked=True), False, None),
        (facts(outside="before", starts_at=LATER, ends_at=LATER + timedelta(1)), False, LATER),
        (facts(ends_at=LATER), False, LATER),
        (facts(ends_at=LATER), True, None),
        (facts(outside="after", ends_at=NOW), False, None),
        (facts(login_due_at=NOW, ends_at=LATER), False, NOW),
        (facts(life="marked_deleted", ends_at=LATER), False, None),
    ],
)
def test_the_next_clock(known: Facts, owner: bool, due: datetime | None) -> None:
    """R-09: an owner's expiry does not come."""
    assert f.due_at(known, owner=owner) == due


def standing(**values: Any) -> Standing:
    plain: dict[str, Any] = {
        "life": "present", "access": "none", "mailed": True, "locked": False, "deactivated": False, "outside": None,
        "owner": False, "has_email": True, "is_self": False,
    }  # fmt: skip
    return Standing(**{**plain, **values})


# Command, where it is tried, and why it is refused there (None: it is done).
COMMANDS: list[tuple[Action, dict[str, Any], str | None]] = [
    *[(Action.INVITE, {"access": access}, None) for access in ("none", "invited", "expired", "declined", "revoked")],
    (Action.INVITE, {"access": "active"}, "already_member"),
    (Action.INVITE, {"locked": True}, "blocked"),
    (Action.INVITE, {"deactivated": True}, "blocked"),
    (Action.INVITE, {"outside": "after"}, "blocked"),
    (Action.INVITE, {"outside": "before"}, None),
    (Action.INVITE, {"has_email": False}, "email_missing"),
    (Action.INVITE, {"life": "marked_deleted"}, "not_present"),
    (Action.INVITE, {"access": "expired", "owner": True}, None),
    (Action.READDRESS, {"access": "invited"}, None),
    (Action.READDRESS, {"access": "invited", "owner": True}, "is_owner"),
    (Action.READDRESS, {"access": "invited", "mailed": False}, "not_invited"),
    (Action.READDRESS, {"access": "expired"}, "not_invited"),
    (Action.READDRESS, {"access": "invited", "locked": True}, "blocked"),
    *[
        (Action.LOCAL_ACCESS, {"access": access, "has_email": False}, None)
        for access in ("none", "expired", "declined", "revoked")
    ],
    (Action.LOCAL_ACCESS, {"access": "invited", "has_email": False}, "invitation_open"),
    (Action.LOCAL_ACCESS, {"access": "active", "has_email": False}, "already_member"),
    (Action.LOCAL_ACCESS, {}, "has_email"),
    (Action.LOCAL_ACCESS, {"has_email": False, "deactivated": True}, "blocked"),
    (Action.REVOKE, {"access": "invited"}, None),
    (Action.REVOKE, {"access": "active", "locked": True}, None),
    *[(Action.REVOKE, {"access": access}, "no_access") for access in ("none", "expired", "declined", "revoked")],
    *[
        (action, {"access": "active", "owner": True}, "is_owner")
        for action in (Action.REVOKE, Action.LOCK, Action.DEACTIVATE, Action.DELETE)
    ],
    *[
        (action, {"access": "active", "is_self": True}, "is_self")
        for action in (Action.REVOKE, Action.LOCK, Action.DEACTIVATE, Action.DELETE)
    ],
    (Action.LOCK, {}, None),
    (Action.LOCK, {"locked": True}, None),
    (Action.UNLOCK, {"locked": True}, None),
    (Action.UNLOCK, {}, "not_locked"),
    (Action.DEACTIVATE, {}, None),
    (Action.DEACTIVATE, {"deactivated": True}, "already_deactivated"),
    (Action.REACTIVATE, {"deactivated": True}, None),
    (Action.REACTIVATE, {"outside": "no_seat"}, None),
    (Action.REACTIVATE, {"outside": "after"}, "not_deactivated"),
    (Action.DELETE, {"access": "active"}, None),
    (Action.RESTORE, {"life": "marked_deleted"}, None),
    *[
        (Action.RESTORE, {"life": life}, "not_marked_deleted")
        for life in ("present", "erasing", "anonymised", "erased")
    ],
    *[
        (action, {"life": life}, "not_present")
        for action in Action
        if action is not Action.RESTORE
        for life in ("marked_deleted", "erasing", "anonymised", "erased")
    ],
    (Action.PRESETS, {"access": "invited"}, None),
    (Action.PRESETS, {"access": "active"}, "already_member"),
    (Action.PRESETS, {"access": "invited", "owner": True}, "is_owner"),
    (Action.EDIT, {"access": "active", "owner": True}, None),
    (Action.DATES, {"access": "active"}, None),
]


@pytest.mark.parametrize(("action", "where", "reason"), COMMANDS)
def test_a_command_is_possible_or_says_why_not(action: Action, where: dict[str, Any], reason: str | None) -> None:
    """R-03, R-09, D-16, D-25: invite again never asks for a deletion; nobody touches owners or himself."""
    error = f.refusal(action, standing(**where))
    assert (error.code() if error else None) == reason


@pytest.mark.parametrize("action", Action)
def test_nobody_moves_the_access_of_who_may_more(action: Action) -> None:
    """R-09, in the small: a counsellor locks no admin out."""
    error = f.refusal(action, standing(access="active", locked=True, may_more=True))
    moves = {"revoke", "lock", "unlock", "deactivate", "reactivate", "dates", "delete"}
    assert (error is not None and error.code() == "may_more") == (action in moves)


def test_allowed_actions_name_every_command_with_its_reason() -> None:
    """E-04: rights first, then facts."""
    told = {one.action: one.reason for one in f.allowed_actions(standing(), frozenset({Permission.MEMBERS_INVITE}))}
    assert set(told) == set(Action)
    assert told[Action.INVITE] is None
    assert told[Action.READDRESS] == "not_invited"
    assert told[Action.REVOKE] == "no_right"


def test_identity_is_told_every_block() -> None:
    known = facts(locked=True, deactivated=True, outside="before", life="marked_deleted")
    assert f.blocks(known) == ["locked", "deactivated", "outside_dates", "marked_deleted"]
