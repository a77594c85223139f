"""Invite, invite again, readdress, presets, local access, revoke; and what identity and notifier answer."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from libs.common.changes import Outbox
from libs.common.db import Database, now
from libs.common.events import identity, notifier
from libs.common.permissions import Permission
from services.members.people.tables import Member
from tests.members.conftest import MEMBERS, Answers, As, add, allowed, at, make_tenant, ok, read, tell

SEATS = "/members/v1/seats"


async def wanted(database: Database, tenant: uuid.UUID, member: dict[str, Any]) -> list[dict[str, Any]]:
    """All that identity was told about a member, in order."""
    async with database.session(tenant) as session:
        query = select(Outbox).where(Outbox.row_id == uuid.UUID(member["id"])).order_by(Outbox.sequence)
        rows = (await session.scalars(query)).all()
    return [row.data for row in rows if row.type == "members.member.access.v1"]


async def facts_of(client: Any, member: dict[str, Any]) -> list[str]:
    entries = (await ok(client.get(f"{MEMBERS}/{member['id']}/history")))["items"]
    return [entry["fact"] for entry in reversed(entries)]


def ended(member: dict[str, Any], reason: Any, *, epoch: int = 0) -> identity.InvitationEnded:
    id = uuid.UUID(member["id"])
    generation = member["invitation"]["generation"]
    return identity.InvitationEnded(invitation_id=id, member_id=id, epoch=epoch, generation=generation, reason=reason)


def roles_of(member: dict[str, Any], *roles: str) -> identity.RolesChanged:
    id = uuid.UUID(member["id"])
    return identity.RolesChanged(member_id=id, epoch=0, roles=list(roles), permission_groups=[])


def renewal(member: dict[str, Any]) -> identity.RenewalAsked:
    return identity.RenewalAsked(
        member_id=uuid.UUID(member["id"]), epoch=0, generation=member["invitation"]["generation"]
    )


def mail(member: dict[str, Any], state: Any, *, generation: int = 1, seconds: int = 0) -> notifier.MessageChanged:
    return notifier.MessageChanged(
        message_id=uuid.uuid4(),
        member_id=uuid.UUID(member["id"]),
        template="invitation",
        state=state,
        epoch=0,
        generation=generation,
        reason="550 no such user" if state == "bounced" else None,
        at=now() + timedelta(seconds=seconds),
    )


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


async def test_an_answer_about_an_older_link_changes_nothing_but_is_remembered(
    as_: As, acme: uuid.UUID, answers: Answers
) -> None:
    """R-03: generation 1 expires while generation 2 is on its way."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    again = await tell(admin, bob, "invite")
    await answers(acme, ended(bob, "expired"))
    assert (await read(admin, bob))["access"] == "invited"
    assert (await facts_of(admin, bob))[-1] == "invitation_expired"
    await answers.accept(acme, bob)  # the first link, of the same epoch
    assert (await read(admin, bob))["access"] == "active"
    await answers(acme, ended(again, "expired"))
    assert (await read(admin, bob))["access"] == "active"


async def test_an_acceptance_of_an_older_epoch_brings_nobody_back(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """R-10, R-11: revoked while the link was being accepted."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    await tell(admin, bob, "revoke")
    await answers.accept(acme, bob, epoch=0)
    assert (await read(admin, bob))["access"] == "revoked"
    assert (await ok(admin.get(SEATS)))["used"] == 0
    again = await tell(admin, bob, "invite")
    await answers.accept(acme, again, epoch=0)
    assert (await read(admin, bob))["access"] == "invited"
    await answers.accept(acme, again, epoch=1)
    assert (await read(admin, bob))["access"] == "active"


async def test_an_answer_that_comes_twice_counts_once(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """R-25"""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    received = await answers(acme, ended(bob, "expired"))
    assert await answers.deliver(received) is False
    await answers(acme, ended(bob, "expired"))
    assert (await ok(admin.get(SEATS)))["reserved"] == 1


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


async def test_nobody_presets_what_he_lacks(as_: As, acme: uuid.UUID) -> None:
    """D-06, D-07, R-09: only owners give owner or admin; a counsellor gives no more than he has."""
    counsellor, admin, owner = (as_(who, acme) for who in ("counsellor", "admin", "owner"))
    bob = await add(admin)
    for giver, presets, status in (
        (counsellor, {"roles": ["admin"]}, 403),
        (admin, {"roles": ["admin"]}, 403),
        (admin, {"roles": ["owner"]}, 403),
        (counsellor, {"permission_groups": ["coordinator"]}, 403),
        (counsellor, {"permission_groups": ["counsellor"]}, 200),
        (admin, {"permission_groups": ["coordinator"]}, 200),
        (owner, {"roles": ["owner"]}, 200),
    ):
        told = await tell(giver, bob, "invite", status, presets=presets)
        if status == 403:
            assert told["code"] == "may_not_grant"
    # Whoever invites again stands for what is preset.
    assert (await tell(admin, bob, "invite", 403))["code"] == "may_not_grant"


async def test_presets_travel_with_the_rights_of_the_giver(as_: As, acme: uuid.UUID, database: Database) -> None:
    """R-20: identity checks again."""
    giver = uuid.uuid4()
    owner = as_("owner", acme, id=giver)
    bob = await add(owner)
    await tell(owner, bob, "invite", presets={"roles": ["admin"], "permission_groups": ["supervisor"], "tags": ["new"]})
    told = (await wanted(database, acme, bob))[-1]
    assert (told["roles"], told["permission_groups"]) == (["admin", "member"], ["supervisor"])
    assert told["granted_by"] == str(giver)
    assert Permission.TENANT_OWN in told["granted_rights"]


async def test_presets_are_edited_before_she_accepts(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """D-16: the link stays as it is; afterwards roles are identity's."""
    owner, admin = as_("owner", acme), as_("admin", acme)
    bob = await tell(owner, await add(owner), "invite", presets={"roles": ["admin"]})
    path, etag = f"{MEMBERS}/{bob['id']}/presets", {"If-Match": '"1"'}
    demoted = await admin.put(path, json={"roles": []}, headers=etag)
    assert (demoted.status_code, demoted.json()["code"]) == (403, "may_not_grant")
    changed = await owner.put(path, json={"groups": ["North"], "tags": ["b", "a"]}, headers=etag)
    assert changed.headers["etag"] == '"2"'
    assert changed.json()["presets"] == {
        "roles": ["member"], "permission_groups": [], "groups": ["North"], "tags": ["a", "b"]
    }  # fmt: skip
    assert changed.json()["invitation"]["generation"] == 1
    assert (await owner.put(path, json={}, headers=etag)).status_code == 412
    await answers.accept(acme, bob)
    assert (await owner.put(path, json={}, headers={"If-Match": '"2"'})).json()["code"] == "already_member"


async def test_who_is_revoked_comes_back_with_no_more_than_the_next_invitation_gives(as_: As, acme: uuid.UUID) -> None:
    """R-10"""
    owner = as_("owner", acme)
    bob = await tell(owner, await add(owner), "invite", presets={"roles": ["admin"], "tags": ["boss"]})
    await tell(owner, bob, "revoke")
    again = await tell(as_("counsellor", acme), bob, "invite")
    assert again["presets"]["roles"] == ["member"]
    assert again["presets"]["tags"] == []


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


async def fill_limit(database: Database, tenant: uuid.UUID) -> None:
    """As if 200 people had been invited today."""
    from services.members.access.tables import InvitedAddress
    from services.members.tenants.tables import Tenant

    async with database.session(tenant) as session:
        (await session.scalars(select(Tenant))).one().mail_class = "new"
        there = len((await session.scalars(select(InvitedAddress))).all())
        for _ in range(200 - there):
            session.add(InvitedAddress(tenant_id=tenant, digest=uuid.uuid4().bytes, invited_at=now()))


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


async def test_what_became_of_the_mail_is_shown(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """A-05, R-04, R-12: nothing is called sent before a server took it; a bounce asks for another address."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    for seconds, state, account, code in (
        (1, "queued", "no_access", "wait"),
        (2, "sent", "invitation_sent", "wait"),
        (3, "bounced", "invitation_sent", "fix_email"),
        (2, "sent", "invitation_sent", "fix_email"),  # late
    ):
        await answers(acme, mail(bob, state, seconds=seconds))
        seen = await read(admin, bob)
        assert (seen["account"], seen["guidance"]["code"]) == (account, code)
    assert seen["invitation"]["mail_reason"] == "550 no such user"
    assert [one["id"] for one in (await ok(admin.get(MEMBERS, params={"guidance": "fix_email"})))["items"]] == [
        bob["id"]
    ]
    again = await tell(admin, bob, "readdress", email="right@example.org")
    assert (again["invitation"]["mail_state"], again["guidance"]["code"]) == (None, "wait")
    await answers(acme, mail(bob, "bounced", generation=1, seconds=9))
    assert (await read(admin, bob))["guidance"]["code"] == "wait"


async def test_identitys_own_end_of_a_membership_counts_as_revoked(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """R-11"""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    await answers.accept(acme, bob)
    gone = identity.MembershipEnded(member_id=uuid.UUID(bob["id"]), epoch=0, holder=1)
    await answers(acme, gone)
    assert (await read(admin, bob))["column"] == "revoked"
    assert (await ok(admin.get(SEATS)))["used"] == 0
    await answers(acme, gone)  # of an older epoch now
    assert (await facts_of(admin, bob))[-2:] == ["membership_ended", "membership_ended"]


async def test_the_end_of_an_older_membership_does_not_touch_the_new_one(
    as_: As, acme: uuid.UUID, answers: Answers
) -> None:
    """R-25: revoked, invited again, accepted; then the answer to the revoke arrives."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    await answers.accept(acme, bob)
    await tell(admin, bob, "revoke")
    await answers.accept(acme, await tell(admin, bob, "invite"), epoch=1)
    await answers(acme, identity.MembershipEnded(member_id=uuid.UUID(bob["id"]), epoch=0, holder=1))
    assert (await read(admin, bob))["column"] == "active"
    assert (await facts_of(admin, bob))[-1] == "membership_ended"


async def test_the_last_owner_is_restored_when_identity_refuses(
    as_: As, acme: uuid.UUID, answers: Answers, database: Database
) -> None:
    """R-09: over-full by one is legal, and the history says so."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    await answers.accept(acme, bob)
    await tell(admin, bob, "lock")
    await tell(admin, bob, "revoke")
    changed = await as_("operator").patch(
        f"/members/v1/operator/tenants/{acme}", json={"seats": 1}, headers={"If-Match": '"1"'}
    )
    assert changed.status_code == 200
    await answers(acme, identity.SuspensionRefused(member_id=uuid.UUID(bob["id"]), epoch=1, holder=1))
    restored = await read(admin, bob)
    assert (restored["column"], restored["roles"]) == ("active", ["owner"])
    assert (await ok(admin.get(SEATS)))["over"] == 1
    told = (await wanted(database, acme, bob))[-1]
    assert (told["want"], told["blocked"], told["epoch"]) == ("invited", [], 1)
    assert (await facts_of(admin, bob))[-1] == "suspension_refused"


async def test_owners_are_not_touched_by_commands(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """R-09: demote or transfer first; and nobody ends his own access."""
    me = uuid.uuid4()
    admin = as_("admin", acme, id=me)
    bob = await tell(admin, await add(admin), "invite")
    await answers.accept(acme, bob)
    await answers(acme, roles_of(bob, "owner", "member"), version=5)
    for command in ("revoke", "lock", "deactivate"):
        assert (await tell(admin, bob, command, 409))["code"] == "is_owner"
    assert (await admin.delete(f"{MEMBERS}/{bob['id']}", headers={"If-Match": '"1"'})).json()["code"] == "is_owner"
    dates = {"starts_at": None, "ends_at": "2030-01-01T00:00:00Z"}
    refused = await admin.put(f"{MEMBERS}/{bob['id']}/dates", json=dates, headers={"If-Match": '"1"'})
    assert refused.json()["code"] == "is_owner"
    await answers(acme, roles_of(bob, "member"), version=4)  # older
    assert (await tell(admin, bob, "lock", 409))["code"] == "is_owner"
    await answers(acme, roles_of(bob, "member"), version=6)
    await tell(admin, bob, "lock")
    assert allowed(await read(as_("admin", acme, id=uuid.UUID(bob["id"])), bob))["revoke"] == "is_self"


async def test_sign_ins_are_shown(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """A-04, A-07: date and time of the last login, once there is one."""
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    await answers.accept(acme, bob)
    assert (await read(admin, bob))["last_login_at"] is None
    for text in ("2026-11-21T10:00:00Z", "2026-11-21T09:00:00Z"):
        await answers(acme, identity.SignedIn(member_id=uuid.UUID(bob["id"]), at=at(text)))
    seen = await read(admin, bob)
    assert (seen["account"], seen["last_login_at"], seen["column"]) == ("last_login", "2026-11-21T10:00:00Z", "active")


async def test_refused_grants_become_a_task(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    admin = as_("admin", acme)
    bob = await tell(admin, await add(admin), "invite")
    refused = identity.GrantsRefused(member_id=uuid.UUID(bob["id"]), roles=["admin"], permission_groups=[])
    await answers(acme, refused)
    assert [task["kind"] for task in (await ok(admin.get("/members/v1/tasks")))["items"]] == ["grants_refused"]


async def test_an_answer_about_nobody_is_dropped(acme: uuid.UUID, answers: Answers, database: Database) -> None:
    await answers(acme, identity.SignedIn(member_id=uuid.uuid4(), at=now()))
    await answers(acme, identity.MembershipEnded(member_id=uuid.uuid4(), epoch=0, holder=1))
    async with database.session(acme) as session:
        assert len((await session.scalars(select(Member))).all()) == 1


async def test_the_same_key_invites_once(as_: As, acme: uuid.UUID) -> None:
    """R-03: a repeated request gets the first answer."""
    admin = as_("admin", acme)
    bob = await add(admin)
    key = {"Idempotency-Key": "k1"}
    first = await admin.post(f"{MEMBERS}/{bob['id']}/invite", headers=key)
    again = await admin.post(f"{MEMBERS}/{bob['id']}/invite", headers=key)
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (200, first.json(), "true")
    assert (await read(admin, bob))["invitation"]["generation"] == 1
