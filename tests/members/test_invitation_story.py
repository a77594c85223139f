"""One invitation from added to revoked and back, as staff see it."""

import uuid

from tests.members.conftest import MEMBERS, Answers, As, add, allowed, ok, read, tell

SEATS = "/members/v1/seats"


async def test_the_story_of_one_invitation(as_: As, acme: uuid.UUID, answers: Answers) -> None:
    """A-14, D-04, D-05, D-15, E-10, E-11, E-12, E-14: added is in the list at once without access; invited waits;
    accepted is OK; revoked stays in the list and goes back to Invite.
    """
    owner = as_("owner", acme)
    bob = await add(owner, "bob")
    assert (bob["column"], bob["access"], bob["guidance"]["code"]) == ("added", "none", "invite")
    assert allowed(bob)["invite"] is None
    assert allowed(bob)["revoke"] == "no_access"
    listed = (await ok(owner.get(MEMBERS)))["items"]
    assert [one["login_name"] for one in listed] == ["bob", "boss"]

    invited = await tell(owner, bob, "invite")
    assert (invited["column"], invited["guidance"]["code"], invited["account"]) == ("invited", "wait", "no_access")
    assert await ok(owner.get(SEATS)) == {"limit": 5, "used": 0, "reserved": 2, "free": 3, "over": 0}

    await answers.accept(acme, invited)
    active = await read(owner, bob)
    assert (active["column"], active["guidance"]["code"]) == ("active", "ok")
    assert await ok(owner.get(SEATS)) == {"limit": 5, "used": 1, "reserved": 1, "free": 3, "over": 0}
    assert (await tell(owner, bob, "invite", 409))["code"] == "already_member"

    revoked = await tell(owner, bob, "revoke", reason="left")
    assert (revoked["column"], revoked["guidance"]["code"]) == ("revoked", "invite")
    assert (await ok(owner.get(SEATS)))["free"] == 4
    assert bob["id"] in [one["id"] for one in (await ok(owner.get(MEMBERS)))["items"]]

    again = await tell(owner, bob, "invite")
    assert (again["id"], again["invitation"]["generation"]) == (bob["id"], 2)

    history = (await ok(owner.get(f"{MEMBERS}/{bob['id']}/history")))["items"]
    assert [entry["fact"] for entry in history] == ["invited", "revoked", "activated", "invited", "added"]
    assert history[1]["details"] == {
        "changed": {"access": ["active", "revoked"], "epoch": [0, 1]},
        "reason": "left",
    }
