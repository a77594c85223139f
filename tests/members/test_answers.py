"""What identity and notifier answer changes the member whom it is about, once, and nothing that is newer."""

import uuid

from sqlalchemy import select

from libs.common.db import Database, now
from libs.common.events import identity
from services.members.people.tables import Member
from tests.members.access import SEATS, ended, facts_of, mail, roles_of, wanted
from tests.members.conftest import MEMBERS, Answers, As, add, allowed, at, ok, read, tell


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
