"""rpc.members.admit: the door for people whom the tenant's own provider vouches for."""

import uuid

from libs.common.db import Database
from libs.common.events.rpc import Admit, Admitted, NoSeat, Refused
from services.members.access.admit import admit
from tests.members.access import ended, wanted
from tests.members.conftest import MEMBERS, Answers, As, add, make_tenant, ok, read, tell


def asked(tenant: uuid.UUID, email: str = "eve@example.org", key: str = "k1", name: str = "Eve") -> Admit:
    return Admit(tenant_id=tenant, key=key, email=email, display_name=name)


async def test_somebody_new_gets_a_seat_and_an_invitation_without_mail(
    as_: As, acme: uuid.UUID, database: Database
) -> None:
    """R-08, R-14: asked again with the same key, nothing happens twice."""
    admin = as_("admin", acme)
    await add(admin, "eve", email="another@example.org")
    told = await admit(database, asked(acme))
    assert isinstance(told, Admitted)
    assert (told.epoch, told.generation) == (0, 1)
    assert await admit(database, asked(acme, email="eve.new@example.org")) == told
    eve = await ok(admin.get(f"{MEMBERS}/{told.member_id}"))
    assert (eve["login_name"], eve["display_name"], eve["access"], eve["invitation"]["way"]) == (
        "eve2", "Eve", "invited", "sso"
    )  # fmt: skip
    sent = (await wanted(database, acme, eve))[-1]
    assert (sent["way"], sent["sso_key"], sent["roles"]) == ("sso", "k1", ["member"])
    assert (await ok(admin.get("/members/v1/seats")))["reserved"] == 2


async def test_a_name_from_outside_is_made_harmless(acme: uuid.UUID, database: Database, as_: As) -> None:
    """R-28"""
    told = await admit(database, asked(acme, name="Click https://evil.example/ \u202enow\x00"))
    assert isinstance(told, Admitted)
    assert (await ok(as_("admin", acme).get(f"{MEMBERS}/{told.member_id}")))["display_name"] == "Click now"


async def test_without_a_seat_nothing_is_changed_and_staff_are_told(as_: As, database: Database) -> None:
    """R-08: one task, however many ask and however often; it is settled when somebody gets in."""
    tenant = await make_tenant(database, seats=2)
    admin = as_("admin", tenant)
    seated = await tell(admin, await add(admin), "invite")
    for key, email in (("k1", "eve@example.org"), ("k1", "eve@example.org"), ("k2", "fay@example.org")):
        assert await admit(database, asked(tenant, email, key)) == NoSeat()
    assert len((await ok(admin.get(MEMBERS)))["items"]) == 2
    [task] = (await ok(admin.get("/members/v1/tasks")))["items"]
    told = (task["kind"], task["member_id"], task["display_name"], task["masked_address"])
    assert told == ("seat_missing", None, None, "e…@example.org")
    await ok(as_("member", tenant).get("/members/v1/tasks"), 403)
    await tell(admin, seated, "revoke")
    assert isinstance(await admit(database, asked(tenant, "fay@example.org", "k2")), Admitted)
    assert (await ok(admin.get("/members/v1/tasks")))["items"] == []


async def test_a_task_that_was_closed_by_hand_is_opened_again_by_the_next_who_asks(
    as_: As, database: Database, globex: uuid.UUID
) -> None:
    tenant = await make_tenant(database, seats=1)
    admin = as_("admin", tenant)
    assert await admit(database, asked(tenant)) == NoSeat()
    [task] = (await ok(admin.get("/members/v1/tasks")))["items"]
    await ok(as_("admin", globex).post(f"/members/v1/tasks/{task['id']}/close"), 404)
    await ok(admin.post(f"/members/v1/tasks/{task['id']}/close"), 204)
    assert (await ok(admin.get("/members/v1/tasks")))["items"] == []
    assert await admit(database, asked(tenant, "fay@example.org", "k2")) == NoSeat()
    [task] = (await ok(admin.get("/members/v1/tasks")))["items"]
    assert task["masked_address"] == "f…@example.org"


async def test_without_a_seat_for_a_member_the_task_is_about_her(as_: As, database: Database) -> None:
    tenant = await make_tenant(database, seats=2)
    admin = as_("admin", tenant)
    seated = await tell(admin, await add(admin), "invite")
    eve = await add(admin, "eve", email="eve@example.org")
    assert await admit(database, asked(tenant)) == NoSeat()
    [task] = (await ok(admin.get("/members/v1/tasks")))["items"]
    told = (task["kind"], task["member_id"], task["display_name"], task["masked_address"])
    assert told == ("seat_missing", eve["id"], eve["display_name"], None)
    assert (await read(admin, eve))["access"] == "none"
    await tell(admin, seated, "revoke")
    assert isinstance(await admit(database, asked(tenant)), Admitted)
    assert (await ok(admin.get("/members/v1/tasks")))["items"] == []


async def test_a_pending_invitation_is_honoured_as_it_stands(as_: As, acme: uuid.UUID, database: Database) -> None:
    """R-14: with its grants; one that makes an owner is accepted by its link alone."""
    owner = as_("owner", acme)
    bob = await tell(owner, await add(owner, email="Bob@example.org"), "invite", presets={"roles": ["admin"]})
    told = await admit(database, asked(acme, email="bob@EXAMPLE.org"))
    assert told == Admitted(uuid.UUID(bob["id"]), 0, 1)
    assert (await read(owner, bob))["presets"]["roles"] == ["admin", "member"]
    await tell(owner, bob, "invite", presets={"roles": ["owner"]})
    assert await admit(database, asked(acme, email="bob@example.org")) == Refused("owner_preset")


async def test_a_lapsed_invitation_gives_no_more_than_membership(
    as_: As, acme: uuid.UUID, database: Database, answers: Answers
) -> None:
    owner = as_("owner", acme)
    bob = await tell(owner, await add(owner), "invite", presets={"roles": ["admin"]})
    await answers(acme, ended(bob, "expired"))
    assert await admit(database, asked(acme, email=bob["email"])) == Admitted(uuid.UUID(bob["id"]), 0, 2)
    assert (await read(owner, bob))["presets"]["roles"] == ["member"]


async def test_who_was_sent_away_is_not_let_in_again(
    as_: As, acme: uuid.UUID, database: Database, answers: Answers
) -> None:
    """R-11: no ghost of a revoked, locked, deleted or already active member."""
    admin = as_("admin", acme)
    bob = await add(admin)

    async def state() -> object:
        told = await admit(database, asked(acme, email=bob["email"]))
        return told.state if isinstance(told, Refused) else told

    await tell(admin, bob, "lock")
    assert await state() == "blocked"
    await tell(admin, bob, "unlock")
    invited = await tell(admin, bob, "invite")
    await answers.accept(acme, invited)
    assert await state() == "active"
    await tell(admin, bob, "revoke")
    assert await state() == "revoked"
    await ok(admin.delete(f"{MEMBERS}/{bob['id']}", headers={"If-Match": '"1"'}))
    assert await state() == "marked_deleted"
    assert await admit(database, asked(acme, email="nonsense")) == Refused("malformed")
