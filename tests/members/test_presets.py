"""What an invitation gives: nothing that its giver lacks, and only until she accepts."""

import uuid

from libs.common.db import Database
from libs.common.permissions import Permission
from tests.members.access import wanted
from tests.members.conftest import MEMBERS, Answers, As, add, tell


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
