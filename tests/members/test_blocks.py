"""Locks, deactivation, dates, marking deleted; clocks strike by the sweep and at request time."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db import Database, now, open_engine
from libs.common.events import identity
from libs.common.sweeps import sweep_once
from services.members.people.tables import Member
from services.members.worker import SWEEPS
from tests.conftest import UrlsOf
from tests.members.access import ended, facts_of, wanted
from tests.members.conftest import MEMBERS, Answers, As, add, allowed, at, make_tenant, ok, read, tell

SEATS = "/members/v1/seats"
YESTERDAY, TOMORROW = now() - timedelta(days=1), now() + timedelta(days=1)


@pytest.fixture
async def sweeper(urls_of: UrlsOf) -> AsyncIterator[AsyncEngine]:
    engine = open_engine((await urls_of("members")).sweep, isolation_level="AUTOCOMMIT")
    yield engine
    await engine.dispose()


@pytest.fixture
async def active(as_: As, acme: uuid.UUID, answers: Answers) -> dict[str, Any]:
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    await answers.accept(acme, bob)
    return bob  # type: ignore[no-any-return]


async def set_row(database: Database, tenant: uuid.UUID, member: dict[str, Any], **columns: Any) -> None:
    """As if time had passed: the columns are moved instead of the clock."""
    async with database.session(tenant) as session:
        await session.execute(update(Member).where(Member.id == uuid.UUID(member["id"])).values(**columns))


async def set_dates(
    client: AsyncClient, member: dict[str, Any], starts: Any = None, ends: Any = None, status: int = 200
) -> Any:
    body = {"starts_at": starts and starts.isoformat(), "ends_at": ends and ends.isoformat()}
    version = (await read(client, member))["version"]
    return await ok(
        client.put(f"{MEMBERS}/{member['id']}/dates", json=body, headers={"If-Match": f'"{version}"'}), status
    )


async def used(client: AsyncClient) -> int:
    return int((await ok(client.get(SEATS)))["used"])


async def test_a_locked_member_keeps_her_seat_and_loses_her_sessions(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database
) -> None:
    """A-08, A-45, A-46, A-47, R-21: for good or until then, with a reason; unlock needs no seat."""
    admin = as_("admin", acme)
    locked = await tell(admin, active, "lock", until=TOMORROW.isoformat(), reason="left the keys")
    assert (locked["column"], locked["guidance"]["code"]) == ("locked", "wait_until")
    assert (locked["blocks"]["lock_reason"], await used(admin)) == ("left the keys", 1)
    for_good = await tell(admin, active, "lock")
    assert for_good["guidance"] == {"code": "unlock", "until": None}
    told = (await wanted(database, acme, active))[-1]
    assert (told["blocked"], told["cut"], told["want"], told["locked_until"]) == (["locked"], 1, "invited", None)
    assert (await tell(admin, active, "unlock"))["column"] == "active"
    assert (await wanted(database, acme, active))[-1]["cut"] == 1
    assert (await tell(admin, active, "unlock", 409))["code"] == "not_locked"


async def test_a_lock_cannot_end_before_it_begins(as_: As, acme: uuid.UUID, active: dict[str, Any]) -> None:
    refused = await tell(as_("admin", acme), active, "lock", 422, until=YESTERDAY.isoformat())
    assert (refused["code"], refused["field"]) == ("not_in_future", "until")


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "soon"])
async def test_a_time_without_its_offset_or_out_of_this_world_is_malformed(
    as_: As, acme: uuid.UUID, active: dict[str, Any], moment: str
) -> None:
    assert (await tell(as_("admin", acme), active, "lock", 400, until=moment))["field"] == "until"


async def test_a_lock_ends_by_the_sweep(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database, sweeper: AsyncEngine
) -> None:
    """R-21, R-22"""
    admin = as_("admin", acme)
    await tell(admin, active, "lock", until=TOMORROW.isoformat())
    await set_row(database, acme, active, locked_until=YESTERDAY, due_at=YESTERDAY)
    found, done = await sweep_once(SWEEPS[0], database, sweeper)
    assert found == done
    assert (await read(admin, active))["column"] == "active"
    assert (await facts_of(admin, active))[-1] == "lock_ended"
    assert (await wanted(database, acme, active))[-1]["blocked"] == []
    assert (await sweep_once(SWEEPS[0], database, sweeper))[0] == 0


async def test_a_clock_that_is_due_strikes_before_any_command(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database
) -> None:
    """R-22: checked at request time, whatever the sweep does."""
    admin = as_("admin", acme)
    await tell(admin, active, "lock", until=TOMORROW.isoformat())
    await set_row(database, acme, active, locked_until=YESTERDAY, due_at=YESTERDAY)
    assert (await tell(admin, active, "unlock", 409))["code"] == "not_locked"
    await tell(admin, active, "deactivate")
    assert (await facts_of(admin, active))[-2:] == ["lock_ended", "deactivated"]


async def test_a_deactivated_member_frees_her_seat_until_she_is_reactivated(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database, answers: Answers
) -> None:
    """B-19, B-20, B-21, D-22, C-71, R-11: no deadline; coming back needs a seat and a sign-in (T-05)."""
    admin = as_("admin", acme)
    gone = await tell(admin, active, "deactivate", reason="treatment is over")
    assert (gone["column"], gone["guidance"]["code"], await used(admin)) == ("inactive", "reactivate", 0)
    assert (await wanted(database, acme, active))[-1]["blocked"] == ["deactivated"]
    back = await tell(admin, active, "reactivate")
    assert (back["column"], await used(admin)) == ("active", 1)
    assert abs((at(back["login_due_at"]) - now()) - timedelta(hours=24)) < timedelta(minutes=1)
    await answers(acme, identity.SignedIn(member_id=uuid.UUID(active["id"]), at=now()))
    assert (await read(admin, active))["login_due_at"] is None


async def test_who_is_reactivated_and_does_not_sign_in_is_deactivated_again(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database, sweeper: AsyncEngine, answers: Answers
) -> None:
    """D-23, D-24, T-05: an exact window, not the end of a calendar day."""
    admin = as_("admin", acme)
    await tell(admin, active, "deactivate")
    await tell(admin, active, "reactivate")
    await answers(acme, identity.SignedIn(member_id=uuid.UUID(active["id"]), at=YESTERDAY))  # an older session
    waiting = await read(admin, active)
    assert (waiting["column"], waiting["login_due_at"] is not None) == ("active", True)
    await set_row(database, acme, active, login_due_at=YESTERDAY, due_at=YESTERDAY)
    await sweep_once(SWEEPS[0], database, sweeper)
    lapsed = await read(admin, active)
    assert (lapsed["column"], lapsed["guidance"]["code"], await used(admin)) == ("inactive", "reactivate", 0)
    assert (await wanted(database, acme, active))[-1]["cut"] == 2


async def test_who_cannot_sign_in_yet_is_not_pressed_to(as_: As, acme: uuid.UUID, active: dict[str, Any]) -> None:
    """T-05: the window is for those who are active again."""
    admin = as_("admin", acme)
    await set_dates(admin, active, TOMORROW)
    await tell(admin, active, "deactivate")
    assert (await tell(admin, active, "reactivate"))["login_due_at"] is None


async def test_reactivation_and_restoring_ask_for_a_seat(as_: As, database: Database, answers: Answers) -> None:
    """R-08: every path asks."""
    tenant = await make_tenant(database, seats=2)
    admin = as_("admin", tenant)
    bob = await tell(admin, await add(admin), "invite")
    await answers.accept(tenant, bob)
    await tell(admin, bob, "deactivate")
    eve = await tell(admin, await add(admin), "invite")
    assert (await tell(admin, bob, "reactivate", 409))["code"] == "seat_limit_reached"
    assert (await read(admin, bob))["column"] == "inactive"
    await tell(admin, eve, "revoke")
    await tell(admin, bob, "reactivate")
    await ok(admin.delete(f"{MEMBERS}/{bob['id']}", headers={"If-Match": '"1"'}))
    await tell(admin, eve, "invite")
    assert (await tell(admin, bob, "restore", 409))["code"] == "seat_limit_reached"


async def test_before_the_entry_she_is_invited_and_accepts_and_waits(
    as_: As, acme: uuid.UUID, database: Database, sweeper: AsyncEngine, answers: Answers
) -> None:
    """C-75, C-76, R-22: the seat is free from acceptance to entry, then taken."""
    admin = as_("admin", acme)
    eve = await add(admin, starts_at=TOMORROW.isoformat())
    assert (eve["column"], eve["guidance"]["code"]) == ("inactive", "invite")
    invited = await tell(admin, eve, "invite")
    assert invited["guidance"]["code"] == "wait"
    assert (await ok(admin.get(SEATS)))["reserved"] == 2
    await answers.accept(acme, invited)
    waiting = await read(admin, eve)
    assert (waiting["guidance"]["code"], waiting["blocks"]["outside_dates"]) == ("wait_for_entry", "before")
    assert await ok(admin.get(SEATS)) == {"limit": 5, "used": 0, "reserved": 1, "free": 4, "over": 0}
    assert (await wanted(database, acme, eve))[-1]["blocked"] == ["outside_dates"]
    await set_row(database, acme, eve, starts_at=YESTERDAY, due_at=YESTERDAY)
    await sweep_once(SWEEPS[0], database, sweeper)
    assert ((await read(admin, eve))["column"], await used(admin)) == ("active", 1)
    assert (await wanted(database, acme, eve))[-1]["blocked"] == []


async def test_an_entry_without_a_free_seat_leaves_her_inactive(
    as_: As, database: Database, sweeper: AsyncEngine, answers: Answers
) -> None:
    """R-08: a clock takes no seat that is not there; guidance Buy a seat, a task, and reactivate when there is one."""
    tenant = await make_tenant(database, seats=2)
    admin = as_("admin", tenant)
    eve = await tell(admin, await add(admin, starts_at=TOMORROW.isoformat()), "invite")
    await answers.accept(tenant, eve)
    bob = await tell(admin, await add(admin), "invite")
    await set_row(database, tenant, eve, starts_at=YESTERDAY, due_at=YESTERDAY)
    await sweep_once(SWEEPS[0], database, sweeper)
    left = await read(admin, eve)
    assert (left["column"], left["guidance"]["code"]) == ("inactive", "buy_seat")
    assert [task["kind"] for task in (await ok(admin.get("/members/v1/tasks")))["items"]] == ["seat_missing"]
    assert (await wanted(database, tenant, eve))[-1]["blocked"] == ["outside_dates"]
    assert (await tell(admin, eve, "reactivate", 409))["code"] == "seat_limit_reached"
    await tell(admin, bob, "revoke")
    assert (await tell(admin, eve, "reactivate"))["column"] == "active"


async def test_the_expiry_ends_access_and_moving_it_brings_her_back(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database, sweeper: AsyncEngine
) -> None:
    """C-41, C-43, C-61, T-17"""
    admin = as_("admin", acme)
    dated = await set_dates(admin, active, ends=TOMORROW)
    assert (dated["column"], dated["version"]) == ("active", 2)
    await set_row(database, acme, active, ends_at=YESTERDAY, due_at=YESTERDAY)
    await sweep_once(SWEEPS[0], database, sweeper)
    over = await read(admin, active)
    assert (over["column"], over["guidance"]["code"], await used(admin)) == ("inactive", "reactivate", 0)
    told = (await wanted(database, acme, active))[-1]
    assert (told["blocked"], told["cut"]) == (["outside_dates"], 1)
    assert (await tell(admin, active, "reactivate", 409))["code"] == "not_deactivated"
    assert (await tell(admin, active, "invite", 409))["code"] == "already_member"
    back = await set_dates(admin, active)
    assert (back["column"], await used(admin), back["login_due_at"]) == ("active", 1, None)


async def test_past_the_expiry_nobody_is_invited(as_: As, acme: uuid.UUID) -> None:
    admin = as_("admin", acme)
    bob = await add(admin, ends_at=YESTERDAY.isoformat())
    refused = await tell(admin, bob, "invite", 409)
    assert (refused["code"], refused["blocks"]) == ("blocked", ["outside_dates"])


async def test_dates_run_forwards(as_: As, acme: uuid.UUID, active: dict[str, Any]) -> None:
    refused = await set_dates(as_("admin", acme), active, TOMORROW, YESTERDAY, 422)
    assert refused["code"] == "dates_reversed"


async def test_an_owners_expiry_is_passed_over_and_staff_are_told(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database, sweeper: AsyncEngine, answers: Answers
) -> None:
    """R-09: dates skip owners and open a task; when she is no owner any more they count again."""
    admin = as_("admin", acme)
    await set_dates(admin, active, ends=TOMORROW)
    id = uuid.UUID(active["id"])
    await answers(acme, identity.RolesChanged(member_id=id, epoch=0, roles=["owner"], permission_groups=[]), version=1)
    assert [task["kind"] for task in (await ok(admin.get("/members/v1/tasks")))["items"]] == ["owner_has_expiry"]
    await set_row(database, acme, active, ends_at=YESTERDAY)
    await sweep_once(SWEEPS[0], database, sweeper)
    assert (await read(admin, active))["column"] == "active"
    await answers(acme, identity.RolesChanged(member_id=id, epoch=0, roles=["member"], permission_groups=[]), version=2)
    await sweep_once(SWEEPS[0], database, sweeper)
    assert (await read(admin, active))["column"] == "inactive"


async def test_marked_deleted_is_restored_until_the_deadline(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database
) -> None:
    """A-09, A-48, A-49, A-50, A-51, T-08: struck through and still there, by filter; names stay taken."""
    admin = as_("admin", acme)
    marked = await ok(admin.delete(f"{MEMBERS}/{active['id']}", headers={"If-Match": '"1"'}))
    assert (marked["column"], marked["guidance"]["code"], await used(admin)) == ("marked_deleted", "restore", 0)
    assert abs(at(marked["deleted_until"]) - now() - timedelta(days=30)) < timedelta(minutes=1)
    told = (await wanted(database, acme, active))[-1]
    assert (told["blocked"], told["cut"], told["epoch"], told["want"]) == (["marked_deleted"], 1, 0, "invited")
    assert active["id"] not in [one["id"] for one in (await ok(admin.get(MEMBERS)))["items"]]
    filtered = (await ok(admin.get(MEMBERS, params={"column": "marked_deleted"})))["items"]
    assert [one["id"] for one in filtered] == [active["id"]]
    taken = {"login_name": active["login_name"].upper(), "display_name": "Other"}
    assert (await ok(admin.post(MEMBERS, json=taken), 409))["code"] == "login_name_taken"
    assert (await tell(admin, active, "invite", 409))["code"] == "not_present"
    restored = await tell(admin, active, "restore")
    assert (restored["column"], restored["deleted_until"], await used(admin)) == ("active", None, 1)
    assert (await tell(admin, active, "restore", 409))["code"] == "not_marked_deleted"


async def test_after_the_deadline_nothing_is_restored(
    as_: As, acme: uuid.UUID, active: dict[str, Any], database: Database
) -> None:
    """A-51, R-23"""
    admin = as_("admin", acme)
    await ok(admin.delete(f"{MEMBERS}/{active['id']}", headers={"If-Match": '"1"'}))
    await set_row(database, acme, active, deleted_until=YESTERDAY)
    assert (await tell(admin, active, "restore", 409))["code"] == "not_marked_deleted"


async def test_an_open_invitation_ends_with_the_mark(
    as_: As, acme: uuid.UUID, database: Database, answers: Answers
) -> None:
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    marked = await ok(admin.delete(f"{MEMBERS}/{bob['id']}", headers={"If-Match": '"1"'}))
    assert (marked["access"], (await ok(admin.get(SEATS)))["reserved"]) == ("revoked", 1)
    told = (await wanted(database, acme, bob))[-1]
    assert (told["want"], told["epoch"], told["cut"]) == ("nothing", 1, 1)
    await answers(acme, ended(bob, "expired"))
    restored = await tell(admin, bob, "restore")
    assert (restored["column"], restored["guidance"]["code"]) == ("revoked", "invite")


async def test_the_tenant_sets_its_retention(as_: As, database: Database) -> None:
    """A-49, T-08: 0 to 400 days."""
    tenant = await make_tenant(database, retention_days=400)
    admin = as_("admin", tenant)
    marked = await ok(admin.delete(f"{MEMBERS}/{(await add(admin))['id']}", headers={"If-Match": '"1"'}))
    assert abs(at(marked["deleted_until"]) - now() - timedelta(days=400)) < timedelta(minutes=1)


async def test_a_counsellor_locks_no_admin_out(
    as_: As, acme: uuid.UUID, active: dict[str, Any], answers: Answers
) -> None:
    """Who may more is for those who may as much: locking, deactivating, revoking, dates, and the ways back."""
    counsellor, coordinator, admin = (as_(who, acme) for who in ("counsellor", "coordinator", "admin"))
    made = identity.RolesChanged(uuid.UUID(active["id"]), epoch=0, roles=["admin", "member"], permission_groups=[])
    await answers(acme, made)
    for command in ("lock", "deactivate", "revoke"):
        assert (await tell(coordinator, active, command, 403))["code"] == "may_more"
    assert (await set_dates(counsellor, active, ends=TOMORROW, status=403))["code"] == "may_more"
    assert allowed(await read(counsellor, active))["lock"] == "may_more"
    assert allowed(await read(admin, active))["lock"] is None
    await tell(admin, active, "lock")
    assert (await tell(counsellor, active, "unlock", 403))["code"] == "may_more"


async def test_counsellors_lock_each_other(as_: As, acme: uuid.UUID, active: dict[str, Any], answers: Answers) -> None:
    """A-45: who may as much, may."""
    id = uuid.UUID(active["id"])
    await answers(acme, identity.RolesChanged(id, epoch=0, roles=["member"], permission_groups=["counsellor"]))
    assert (await tell(as_("counsellor", acme), active, "lock"))["column"] == "locked"


async def test_nobody_puts_off_his_own_expiry(
    as_: As, acme: uuid.UUID, active: dict[str, Any], answers: Answers
) -> None:
    """R-22: a substitute for the summer, with the right to set dates, does not make it two. Owners have no expiry."""
    await set_dates(as_("admin", acme), active, ends=TOMORROW)
    herself = as_("counsellor", acme, id=uuid.UUID(active["id"]))
    assert (await set_dates(herself, active, status=409))["code"] == "is_self"
    assert allowed(await read(herself, active))["dates"] == "is_self"
    await answers(acme, identity.RolesChanged(uuid.UUID(active["id"]), epoch=0, roles=["owner"], permission_groups=[]))
    await set_dates(as_("owner", acme, id=uuid.UUID(active["id"])), active)
