"""Inviting: how long, again, to another address, how many, and what is asked of staff."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from libs.common.db import Database
from tests.members.access import SEATS, ended, facts_of, fill_limit, renewal, wanted
from tests.members.conftest import MEMBERS, Answers, As, add, at, make_tenant, ok, read, tell


async def test_an_invitation_lasts_28_days_unless_tenant_or_inviter_say_otherwise(as_: As, acme: uuid.UUID) -> None:
    """D-10, T-01, B-18: a tenant that wants 7 days for its welcome links sets them."""
    owner = as_("owner", acme)

    async def lasts(**body: Any) -> timedelta:
        told = (await tell(owner, await add(owner, email=f"{uuid.uuid4().hex}@example.org"), "invite", **body))[
            "invitation"
        ]
        return at(told["deadline"]) - at(told["invited_at"])

    assert await lasts() == timedelta(days=28)
    assert await lasts(invitation_hours=1) == timedelta(hours=1)
    settings = await owner.patch("/members/v1/tenant", json={"invitation_hours": 168}, headers={"If-Match": '"1"'})
    assert settings.status_code == 200
    assert await lasts() == timedelta(days=7)


@pytest.mark.parametrize("hours", [0, 2161])
async def test_an_invitation_lasts_at_least_an_hour_and_at_most_90_days(as_: As, acme: uuid.UUID, hours: int) -> None:
    """T-01"""
    admin = as_("admin", acme)
    refused = await tell(admin, await add(admin), "invite", 400, invitation_hours=hours)
    assert refused["field"] == "invitation_hours"


async def test_invite_again_makes_a_new_link_for_the_same_invitation_and_the_same_seat(
    as_: As, acme: uuid.UUID, database: Database
) -> None:
    """R-03, T-03, B-18: legal while pending; older generations are dead; no further seat."""
    admin = as_("admin", acme)
    bob = await add(admin)
    first, second = await tell(admin, bob, "invite"), await tell(admin, bob, "invite")
    assert (first["invitation"]["generation"], second["invitation"]["generation"]) == (1, 2)
    assert (await ok(admin.get(SEATS)))["reserved"] == 2
    told = await wanted(database, acme, bob)
    assert [(one["want"], one["generation"], one["epoch"]) for one in told] == [
        ("nothing", 0, 0),
        ("invited", 1, 0),
        ("invited", 2, 0),
    ]
    assert [one["access_version"] for one in told] == [1, 2, 3]


@pytest.mark.parametrize("reason", ["expired", "declined"])
async def test_an_ended_invitation_stays_listed_frees_its_seat_and_is_sent_again(
    as_: As, acme: uuid.UUID, answers: Answers, reason: str
) -> None:
    """R-04, E-13, T-04, D-20, D-25, D-26: nobody has to be deleted or overwritten first."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    await answers(acme, ended(bob, reason))
    over = await read(admin, bob)
    assert (over["column"], over["access"], over["guidance"]["code"]) == ("added", reason, "invite_again")
    assert (await ok(admin.get(SEATS)))["reserved"] == 1
    assert [one["id"] for one in (await ok(admin.get(MEMBERS, params={"access": reason})))["items"]] == [bob["id"]]
    again = await tell(admin, bob, "invite")
    assert (again["id"], again["invitation"]["generation"], again["column"]) == (bob["id"], 2, "invited")


async def test_a_wrong_address_is_mended_in_place(as_: As, acme: uuid.UUID, database: Database) -> None:
    """R-19, D-27, D-28: same id, same seat, a new link to the new address, the history keeps both."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin, email="bbo@example.org"), "invite")
    refused = await admin.patch(
        f"{MEMBERS}/{bob['id']}", json={"email": "bob@example.org"}, headers={"If-Match": '"1"'}
    )
    assert (refused.status_code, refused.json()["code"], refused.json()["instead"]) == (
        409,
        "invitation_open",
        "readdress",
    )
    mended = await tell(admin, bob, "readdress", email="bob@example.org")
    assert (mended["id"], mended["email"], mended["invitation"]["generation"]) == (bob["id"], "bob@example.org", 2)
    assert (await ok(admin.get(SEATS)))["reserved"] == 2
    assert (await wanted(database, acme, bob))[-1]["email"] == "bob@example.org"
    [entry, *_] = (await ok(admin.get(f"{MEMBERS}/{bob['id']}/history")))["items"]
    assert (entry["fact"], entry["details"]["edited"]) == (
        "readdressed",
        {"email": ["bbo@example.org", "bob@example.org"]},
    )
    counsellor = (await ok(as_("counsellor", acme).get(f"{MEMBERS}/{bob['id']}/history")))["items"]
    assert counsellor[0]["details"]["edited"] == {"email": "hidden"}


async def test_who_is_a_member_already_is_not_added_again(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """R-01, R-02: the key is the canonical address in this tenant; other tenants are not told of."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin, email="Bob@Example.org"), "invite")
    twin = {"login_name": "bob2", "display_name": "Bob", "email": " bob@EXAMPLE.ORG"}
    assert (await ok(admin.post(MEMBERS, json=twin), 409))["code"] == "email_taken"
    await answers.accept(acme, bob)
    refused = await ok(admin.post(MEMBERS, json=twin), 409)
    assert (refused["code"], refused["member_id"]) == ("already_member", bob["id"])
    assert "member_id" not in await ok(as_("counsellor", acme).post(MEMBERS, json=twin), 409)


async def test_the_same_names_in_another_tenant_are_free(as_: As, acme: uuid.UUID, globex: uuid.UUID) -> None:
    """R-07, R-20"""
    for tenant in (acme, globex):
        bob = await add(as_("admin", tenant), "bob")
        await tell(as_("admin", tenant), bob, "invite")


async def test_without_an_address_there_is_nothing_to_send(as_: As, acme: uuid.UUID) -> None:
    """A-21, D-01"""
    admin = as_("admin", acme)
    assert (await tell(admin, await add(admin, email=None), "invite", 422))["code"] == "email_missing"


async def test_adding_invites_at_once_where_asked_or_where_the_tenant_says_so(
    as_: As, acme: uuid.UUID, database: Database
) -> None:
    """B-15, T-02, A-14: two steps always exist."""
    admin = as_("admin", acme)
    assert (await add(admin))["access"] == "none"
    assert (await add(admin, invite=True))["access"] == "invited"
    eager = await make_tenant(database, seats=2, invite_on_create=True)
    admin = as_("admin", eager)
    assert (await add(admin))["access"] == "invited"
    assert (await add(admin))["access"] == "none"  # no seat is left: the setting invites only whom it can
    assert (await add(admin, email=None))["access"] == "none"
    assert (await add(admin, invite=False))["access"] == "none"
    body = {"login_name": "zoe", "display_name": "Zoe", "email": "zoe@example.org", "invite": True}
    assert (await ok(admin.post(MEMBERS, json=body), 409))["code"] == "seat_limit_reached"
    assert [one["login_name"] for one in (await ok(admin.get(MEMBERS, params={"login_name": "zoe"})))["items"]] == []
    await as_("operator").patch(f"/members/v1/operator/tenants/{eager}", json={"seats": 9}, headers={"If-Match": '"1"'})
    await fill_limit(database, eager)
    assert (await add(admin))["access"] == "none"  # the limit is reached


async def test_a_lapsed_invitation_is_not_turned_to_another_mailbox(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """R-09, D-21: otherwise an admin could become owner by *send me a new link*."""
    owner, admin = as_("owner", acme), as_("admin", acme)
    bob = await tell(owner, await add(owner), "invite", presets={"roles": ["owner"]})
    assert (await tell(admin, bob, "readdress", 403, email="mine@example.org"))["code"] == "may_not_grant"
    await answers(acme, ended(bob, "expired"))
    edit: dict[str, Any] = {"json": {"email": "mine@example.org"}, "headers": {"If-Match": '"1"'}}
    assert (await admin.patch(f"{MEMBERS}/{bob['id']}", **edit)).json()["code"] == "may_not_grant"
    assert (await owner.patch(f"{MEMBERS}/{bob['id']}", **edit)).status_code == 200


async def test_local_access_is_for_people_without_an_address(
    as_: As, acme: uuid.UUID, database: Database, answers: Answers
) -> None:
    """T-11: 72 hours, no mail, no other right; the tenant may switch it off."""
    admin = as_("admin", acme)
    bob = await add(admin, email=None)
    opened = await tell(admin, bob, "local-access")
    assert (opened["invitation"]["way"], opened["access"]) == ("local", "invited")
    assert at(opened["invitation"]["deadline"]) - at(opened["invitation"]["invited_at"]) == timedelta(hours=72)
    assert (await wanted(database, acme, bob))[-1]["roles"] == ["member"]
    assert (await tell(admin, bob, "local-access", 409))["instead"] == "revoke"
    staff_once = await tell(
        as_("owner", acme), await add(admin), "invite", presets={"permission_groups": ["coordinator"]}
    )
    await answers(acme, ended(staff_once, "expired"))
    gone = await admin.patch(f"{MEMBERS}/{staff_once['id']}", json={"email": None}, headers={"If-Match": '"1"'})
    assert gone.status_code == 200
    opened = await tell(as_("counsellor", acme), staff_once, "local-access")
    assert opened["presets"] == {"roles": ["member"], "permission_groups": [], "groups": [], "tags": []}
    strict = await make_tenant(database, local_access=False)
    admin = as_("admin", strict)
    assert (await tell(admin, await add(admin, email=None), "local-access", 409))["code"] == "local_access_off"


async def test_a_lapsed_invitation_is_sent_again_on_request(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """D-21, T-17"""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    await answers(acme, renewal(bob))
    assert (await read(admin, bob))["invitation"]["generation"] == 1  # it is not lapsed
    await answers(acme, ended(bob, "expired"))
    await answers(acme, renewal(bob))
    renewed = await read(admin, bob)
    assert (renewed["access"], renewed["invitation"]["generation"]) == ("invited", 2)
    assert (await facts_of(admin, bob))[-1] == "renewed"
    await answers(acme, renewal(bob))
    assert (await read(admin, bob))["invitation"]["generation"] == 2


@pytest.mark.parametrize("why", ["setting", "seat", "locked", "limit"])
async def test_staff_are_asked_where_a_lapsed_invitation_cannot_be_sent(
    as_: As, database: Database, answers: Answers, why: str
) -> None:
    """D-21, T-17: locks and blocks are never undone by the member; at most one task is open."""
    tenant = await make_tenant(database, seats=2, renewal_allowed=why != "setting")
    admin = as_("admin", tenant)
    bob = await tell(admin, await add(admin), "invite")
    await answers(tenant, ended(bob, "expired"))
    if why == "seat":
        await tell(admin, await add(admin), "invite")
    if why == "locked":
        await tell(admin, bob, "lock")
    if why == "limit":
        await fill_limit(database, tenant)
    await answers(tenant, renewal(bob))
    await answers(tenant, renewal(bob))
    [task] = (await ok(admin.get("/members/v1/tasks")))["items"]
    assert (task["kind"], task["member_id"]) == ("renewal_asked", bob["id"])
    assert (await read(admin, bob))["access"] == "expired"
    await ok(admin.post(f"/members/v1/tasks/{task['id']}/close"), 204)
    assert (await ok(admin.get("/members/v1/tasks")))["items"] == []


async def test_inviting_settles_the_task_that_asked_for_it(as_: As, database: Database, answers: Answers) -> None:
    tenant = await make_tenant(database, renewal_allowed=False)
    admin = as_("admin", tenant)
    bob = await tell(admin, await add(admin), "invite")
    await answers(tenant, ended(bob, "expired"))
    await answers(tenant, renewal(bob))
    assert len((await ok(admin.get("/members/v1/tasks")))["items"]) == 1
    await tell(admin, bob, "invite")
    assert (await ok(admin.get("/members/v1/tasks")))["items"] == []


async def test_a_new_tenant_invites_200_people_a_day(as_: As, database: Database) -> None:
    """R-28: people are counted, on every path; one who was invited today may be invited again."""
    tenant = await make_tenant(database, seats=1000, mail_class="new")
    admin = as_("admin", tenant)
    bob, eve = await tell(admin, await add(admin), "invite"), await add(admin)
    await fill_limit(database, tenant)
    refused = await admin.post(f"{MEMBERS}/{eve['id']}/invite")
    assert (refused.status_code, refused.json()["code"]) == (429, "invitation_limit_reached")
    assert 86_000 < int(refused.headers["retry-after"]) <= 86_400
    await tell(admin, bob, "invite")
    assert (await tell(admin, bob, "readdress", 429, email="other@example.org"))["code"] == "invitation_limit_reached"
    assert (await read(admin, bob))["email"] == bob["email"]


async def test_the_same_key_invites_once(as_: As, acme: uuid.UUID) -> None:
    """R-03: a repeated request gets the first answer."""
    admin = as_("admin", acme)
    bob = await add(admin)
    key = {"Idempotency-Key": "k1"}
    first = await admin.post(f"{MEMBERS}/{bob['id']}/invite", headers=key)
    again = await admin.post(f"{MEMBERS}/{bob['id']}/invite", headers=key)
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (200, first.json(), "true")
    assert (await read(admin, bob))["invitation"]["generation"] == 1
