"""Many at once: a job, an answer for each, paced, withdrawn, and going on after a crash."""

import asyncio
import sys
import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from libs.common.db import Database, now
from services.members.bulk.tables import Job
from services.members.bulk.work import do_next
from services.members.people.tables import Member
from services.members.seats.rules import lock_tenant
from tests.conftest import UrlsOf
from tests.members.access import fill_limit
from tests.members.conftest import MEMBERS, Answers, As, add, at, make_tenant, ok, read, tell

BULK, JOBS = "/members/v1/bulk", "/members/v1/jobs"


async def work_off(database: Database, tenant: uuid.UUID, job: dict[str, Any]) -> None:
    """As the worker does."""
    while await do_next(database, tenant, uuid.UUID(job["id"]), 7):
        pass


async def items(client: Any, job: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    return (await ok(client.get(f"{JOBS}/{job['id']}/items", params={"limit": 200, **params})))["items"]  # type: ignore[no-any-return]


async def codes(client: Any, job: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(one["state"], one["code"]) for one in await items(client, job)]


async def crowd(database: Database, tenant: uuid.UUID, count: int) -> list[uuid.UUID]:
    """Added members, without the ceremony."""
    async with database.session(tenant) as session:
        rows = [
            {"tenant_id": tenant, "version": 1, "login_name": f"c{n}", "login_key": f"c{n}", "display_name": f"C {n}",
             "name_key": f"c {n}", "email": f"c{n}@example.org", "email_key": f"c{n}@example.org"}
            for n in range(count)
        ]  # fmt: skip
        return list(await session.scalars(insert(Member).returning(Member.id), rows))


async def test_each_person_has_an_answer_of_her_own(as_: As, acme: uuid.UUID, database: Database) -> None:
    """E-06, R-13: no row aborts another; ids of another tenant are not there."""
    admin = as_("admin", acme)
    people = [
        await add(admin),
        await add(admin, email=None),
        await tell(admin, await add(admin), "lock"),
        await tell(admin, await add(admin), "invite"),
    ]
    ids = [one["id"] for one in people]
    started = await admin.post(f"{BULK}/invite", json={"ids": [*ids, ids[0], str(uuid.uuid4())]})
    job = started.json()
    assert (started.status_code, started.headers["location"]) == (202, f"{JOBS}/{job['id']}")
    assert (job["total"], job["counts"]["waiting"], job["state"]) == (5, 5, "running")
    await work_off(database, acme, job)
    assert await codes(admin, job) == [
        ("done", None), ("refused", "email_missing"), ("refused", "blocked"), ("done", None), ("refused", "not_found")
    ]  # fmt: skip
    finished = await ok(admin.get(f"{JOBS}/{job['id']}"))
    assert (finished["state"], finished["counts"]["done"], finished["next_at"]) == ("done", 2, None)
    assert (await read(admin, people[3]))["invitation"]["generation"] == 2
    assert [one["position"] for one in await items(admin, job, state="refused")] == [1, 2, 4]


async def test_a_filter_chooses_what_the_list_shows(as_: As, acme: uuid.UUID, database: Database) -> None:
    """E-06, R-04: one grammar for list and bulk; also by address."""
    admin = as_("admin", acme)
    bob, eve = await tell(admin, await add(admin), "invite"), await add(admin)
    job = await ok(admin.post(f"{BULK}/invite", json={"filter": {"column": ["added"]}}), 202)
    await work_off(database, acme, job)
    assert [one["member_id"] for one in await items(admin, job)] == [eve["id"]]
    chosen = {"filter": {"column": ["invited"], "email": bob["email"].upper()}, "reason": "mistake"}
    job = await ok(admin.post(f"{BULK}/revoke", json=chosen), 202)
    await work_off(database, acme, job)
    assert (await read(admin, bob))["access"] == "revoked"
    assert (await read(admin, eve))["access"] == "invited"


async def test_a_selection_is_ids_or_a_filter(as_: As, acme: uuid.UUID) -> None:
    admin = as_("admin", acme)
    for body in ({}, {"ids": [str(uuid.uuid4())], "filter": {}}):
        assert (await ok(admin.post(f"{BULK}/invite", json=body), 422))["code"] == "selection_missing"
    await ok(admin.post(f"{BULK}/invite", json={"ids": []}), 400)
    await ok(admin.post(f"{BULK}/invite", json={"filter": {"colour": "red"}}), 400)


@pytest.mark.timeout(400)
async def test_five_thousand_people_in_one_command_and_no_more(as_: As, database: Database) -> None:
    """R-13, §9: chosen by filter in one request; the worker goes through them one by one."""
    tenant = await make_tenant(database, seats=6_000)
    admin = as_("admin", tenant)
    await crowd(database, tenant, 5_000)
    job = await ok(admin.post(f"{BULK}/invite", json={"filter": {"column": ["added"]}}), 202)
    assert (job["total"], job["counts"]["waiting"]) == (5_000, 5_000)
    for _ in range(20):
        assert await do_next(database, tenant, uuid.UUID(job["id"]))
    assert (await ok(admin.get(f"{JOBS}/{job['id']}")))["counts"]["done"] == 20
    await add(admin)
    refused = await ok(admin.post(f"{BULK}/invite", json={"filter": {"column": ["added", "invited"]}}), 422)
    assert (refused["code"], refused["most"]) == ("too_many_people", 5_000)


async def test_seats_are_reserved_as_rows_are_released(as_: As, database: Database) -> None:
    """R-08: not by the job; who finds none is told so, the others go on."""
    tenant = await make_tenant(database, seats=3)
    admin = as_("admin", tenant)
    ids = [str(id) for id in await crowd(database, tenant, 4)]
    job = await ok(admin.post(f"{BULK}/invite", json={"ids": ids}), 202)
    assert (await ok(admin.get("/members/v1/seats")))["reserved"] == 1
    await work_off(database, tenant, job)
    assert await codes(admin, job) == [("done", None)] * 2 + [("refused", "seat_limit_reached")] * 2


async def test_a_job_waits_for_the_tenants_limit_and_goes_on(as_: As, database: Database) -> None:
    """R-28: paced, not refused: queued_by_limit, and when it goes on."""
    from services.members.access.tables import InvitedAddress

    tenant = await make_tenant(database, seats=300, mail_class="new")
    admin = as_("admin", tenant)
    ids = [str(id) for id in await crowd(database, tenant, 3)]
    await fill_limit(database, tenant)
    async with database.session(tenant) as session:  # one of the 200 was invited nearly a day ago
        one = select(InvitedAddress.digest).limit(1).scalar_subquery()
        long_ago = now() - timedelta(hours=23, minutes=59, seconds=59)
        await session.execute(update(InvitedAddress).where(InvitedAddress.digest == one).values(invited_at=long_ago))
    job = await ok(admin.post(f"{BULK}/invite", json={"ids": ids}), 202)
    await work_off(database, tenant, job)
    seen = await ok(admin.get(f"{JOBS}/{job['id']}"))
    assert (seen["state"], seen["counts"]["queued_by_limit"], seen["counts"]["done"]) == ("running", 3, 0)
    await asyncio.sleep(max(0, (at(seen["next_at"]) - now()).total_seconds()) + 0.05)
    await work_off(database, tenant, job)
    seen = await ok(admin.get(f"{JOBS}/{job['id']}"))
    assert (seen["counts"]["queued_by_limit"], seen["counts"]["done"]) == (2, 1)
    await ok(as_("operator").patch(
        f"/members/v1/operator/tenants/{tenant}", json={"mail_class": "trusted"}, headers={"If-Match": '"1"'}
    ))  # fmt: skip
    async with database.session(tenant) as session:
        await session.execute(update(Job).values(due_at=now()))
    await work_off(database, tenant, job)
    assert (await ok(admin.get(f"{JOBS}/{job['id']}")))["state"] == "done"


async def test_a_job_is_withdrawn_with_what_it_sent(as_: As, database: Database, answers: Answers) -> None:
    """R-13: what waits is dropped, open invitations are taken back; who has accepted stays."""
    tenant = await make_tenant(database, seats=10)
    admin = as_("admin", tenant)
    ids = [str(id) for id in await crowd(database, tenant, 5)]
    job = await ok(admin.post(f"{BULK}/invite", json={"ids": ids}), 202)
    for _ in range(4):
        await do_next(database, tenant, uuid.UUID(job["id"]))
    members = [await ok(admin.get(f"{MEMBERS}/{id}")) for id in ids]
    await answers.accept(tenant, members[0])
    await tell(admin, members[1], "invite")
    withdrawn = await ok(admin.post(f"{JOBS}/{job['id']}/withdraw"), 202)
    assert (withdrawn["state"], withdrawn["counts"]["withdrawn"]) == ("withdrawing", 1)
    await work_off(database, tenant, job)
    assert await codes(admin, job) == [
        ("done", "not_invited"), ("done", "invited_again"), *[("withdrawn", None)] * 3
    ]  # fmt: skip
    assert [(await ok(admin.get(f"{MEMBERS}/{id}")))["access"] for id in ids] == [
        "active", "invited", "revoked", "revoked", "none"
    ]  # fmt: skip
    assert (await ok(admin.post(f"{JOBS}/{job['id']}/withdraw"), 409))["code"] == "job_finished"


async def test_a_withdrawal_ends_with_whom_it_cannot_touch(as_: As, database: Database) -> None:
    """R-09: the first owner was among those chosen; her invitation stays, and the job comes to its end."""
    tenant = await make_tenant(database)
    owner = as_("owner", tenant)
    job = await ok(owner.post(f"{BULK}/invite", json={"filter": {"column": ["invited"]}}), 202)
    await work_off(database, tenant, job)
    await ok(owner.post(f"{JOBS}/{job['id']}/withdraw"), 202)
    await work_off(database, tenant, job)
    assert await codes(owner, job) == [("done", "is_owner")]
    assert (await ok(owner.get(f"{JOBS}/{job['id']}")))["state"] == "withdrawn"


async def test_who_may_not_revoke_stops_a_job_and_takes_nothing_back(as_: As, database: Database) -> None:
    tenant = await make_tenant(database, seats=10)
    counsellor = as_("counsellor", tenant)
    ids = [str(id) for id in await crowd(database, tenant, 2)]
    job = await ok(counsellor.post(f"{BULK}/invite", json={"ids": ids}), 202)
    await do_next(database, tenant, uuid.UUID(job["id"]))
    assert (await ok(counsellor.post(f"{JOBS}/{job['id']}/withdraw"), 202))["state"] == "withdrawn"
    await work_off(database, tenant, job)
    assert await codes(counsellor, job) == [("done", None), ("withdrawn", None)]


async def test_who_may_not_revoke_stops_no_revoking(as_: As, database: Database) -> None:
    """R-10: a counsellor who is about to lose her access does not keep it by withdrawing the job."""
    tenant = await make_tenant(database, seats=10)
    admin, ids = as_("admin", tenant), [str(id) for id in await crowd(database, tenant, 2)]
    job = await ok(admin.post(f"{BULK}/revoke", json={"ids": ids}), 202)
    refused = await as_("counsellor", tenant).post(f"{JOBS}/{job['id']}/withdraw")
    assert (refused.status_code, refused.json()["permission"]) == (403, "members:revoke")
    assert (await ok(admin.get(f"{JOBS}/{job['id']}")))["state"] == "running"
    assert (await ok(admin.post(f"{JOBS}/{job['id']}/withdraw"), 202))["state"] == "withdrawn"


async def test_a_job_ends_with_the_access_of_who_asked_for_it(
    as_: As, acme: uuid.UUID, database: Database, answers: Answers
) -> None:
    """R-10: nobody goes on inviting after he was locked out."""
    owner = as_("owner", acme)
    bob = await tell(owner, await add(owner), "invite")
    await answers.accept(acme, bob)
    as_bob = as_("admin", acme, id=uuid.UUID(bob["id"]))
    job = await ok(as_bob.post(f"{BULK}/invite", json={"ids": [(await add(owner))["id"]]}), 202)
    await tell(owner, bob, "lock")
    await work_off(database, acme, job)
    assert (await ok(owner.get(f"{JOBS}/{job['id']}")))["state"] == "stopped"
    assert await codes(owner, job) == [("withdrawn", "actor_lost_access")]


async def test_in_a_closed_tenant_a_job_waits_until_it_is_opened_again(
    as_: As, acme: uuid.UUID, database: Database
) -> None:
    """R-13: nothing is sent meanwhile, and nothing is lost."""
    owner = as_("owner", acme)
    job = await ok(owner.post(f"{BULK}/invite", json={"ids": [(await add(owner))["id"]]}), 202)
    await _set_state(database, acme, "closed")
    await work_off(database, acme, job)
    assert await codes(owner, job) == [("waiting", None)]
    await _set_state(database, acme, "open")
    async with database.session(acme) as session:
        assert await session.scalar(update(Job).values(due_at=now()).returning(Job.due_at)) is not None
    await work_off(database, acme, job)
    assert await codes(owner, job) == [("done", None)]


async def _set_state(database: Database, tenant: uuid.UUID, state: str) -> None:
    async with database.session(tenant) as session:
        (await lock_tenant(session)).state = state


async def test_rights_of_the_moment_go_with_the_job(as_: As, acme: uuid.UUID, database: Database) -> None:
    """R-09: each item is checked with the rights of who asked."""
    counsellor = as_("counsellor", acme)
    bob = await add(counsellor)
    body = {"ids": [bob["id"]], "presets": {"roles": ["admin"]}}
    job = await ok(counsellor.post(f"{BULK}/invite", json=body), 202)
    await work_off(database, acme, job)
    assert await codes(counsellor, job) == [("refused", "may_not_grant")]


WORKER = """
import asyncio, sys, uuid
from libs.common.db import Database
from services.members.bulk.work import do_next

async def main(url, tenant, job):
    database = Database(url)
    while True:
        if not await do_next(database, uuid.UUID(tenant), uuid.UUID(job), 7):
            await asyncio.sleep(0.01)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.timeout(400)
async def test_after_kill_9_at_any_point_everybody_was_invited_once(
    as_: As, database: Database, urls_of: UrlsOf
) -> None:
    """R-13, R-25: two workers are killed in the middle; the next one goes on."""
    tenant = await make_tenant(database, seats=300)
    admin = as_("admin", tenant)
    ids = [str(id) for id in await crowd(database, tenant, 100)]
    job = await ok(admin.post(f"{BULK}/invite", json={"ids": ids}), 202)
    url = (await urls_of("members")).app
    workers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, url, str(tenant), job["id"])
        for _ in range(2)
    ]
    async with asyncio.timeout(60):
        while (await ok(admin.get(f"{JOBS}/{job['id']}")))["counts"]["done"] < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    for worker in workers:
        worker.kill()
        await worker.wait()
    assert (await ok(admin.get(f"{JOBS}/{job['id']}")))["state"] == "running"
    await work_off(database, tenant, job)
    assert [state for state, _ in await codes(admin, job)] == ["done"] * 100
    async with database.session(tenant) as session:
        held = await session.scalar(select(func.count()).where(Member.generation == 1, Member.access == "invited"))
        assert (held, (await lock_tenant(session)).seats_reserved) == (101, 101)


async def test_the_same_key_starts_one_job(as_: As, acme: uuid.UUID) -> None:
    admin = as_("admin", acme)
    body, key = {"ids": [(await add(admin))["id"]]}, {"Idempotency-Key": "bulk-1"}
    first = await admin.post(f"{BULK}/invite", json=body, headers=key)
    again = await admin.post(f"{BULK}/invite", json=body, headers=key)
    assert first.json()["id"] == again.json()["id"]
