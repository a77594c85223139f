"""Who gives and takes roles, and that a tenant's last owner is never lost."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response

from libs.common.permissions import Role, rights_of
from tests.identity.story import As, Member, Tenant, World
from tests.ids import new_id

OWNER = sorted(rights_of([Role.OWNER], []))


async def roles(client: AsyncClient, member: Member) -> Response:
    return await client.get(f"/identity/v1/members/{member.id}/roles")


async def give(client: AsyncClient, member: Member, *names: str, groups: tuple[str, ...] = ()) -> Response:
    read = await roles(client, member)
    body = {"roles": list(names), "permission_groups": list(groups)}
    headers = {"If-Match": read.headers.get("etag", '"0"')}
    return await client.put(f"/identity/v1/members/{member.id}/roles", json=body, headers=headers)


async def test_roles_are_a_set_each_with_its_source(world: World, as_: As) -> None:
    """E-15, T-12, R-20: several roles and groups; who gave each, and how."""
    tenant = await world.tenant()
    owner, _ = await world.owner(tenant)
    bob, _ = await world.joined(tenant, permission_groups=["supervisor"], granted_rights=OWNER, granted_by=owner.id)
    answer = await give(as_("owner", tenant.id, id=owner.id), bob, "admin", groups=("supervisor", "counsellor"))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["roles"], answer.json()["permission_groups"]) == (
        ["member", "admin"],
        ["counsellor", "supervisor"],
    )
    sources = {grant["name"]: (grant["source"], grant["granted_by"]) for grant in answer.json()["grants"]}
    assert sources["supervisor"] == ("invitation", str(owner.id))
    assert sources["admin"] == ("manual", str(owner.id))
    assert (await world.facts(bob))[-1] == "roles_changed"


async def test_a_role_taken_away_bites_at_once(world: World, as_: As) -> None:
    """R-10: av rises, so that tokens from before are refused."""
    tenant = await world.tenant()
    await world.owner(tenant)
    bob, browser = await world.joined(tenant, roles=["admin"], granted_rights=OWNER)
    before = (await world.membership(bob)).av
    assert (await give(as_("owner", tenant.id), bob)).status_code == 200
    assert (await world.membership(bob)).av > before
    assert (await world.told(tenant.id, bob.id))[-2].subject == f"revoked.membership.{bob.id}"
    token = (await world.token(browser)).json()["access_token"]
    me = await browser.get("/identity/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert me.json()["rights"] == []


@pytest.mark.parametrize(
    ("who", "names", "groups", "code"),
    [
        ("admin", ["owner"], [], "may_not_grant"),
        ("admin", ["admin"], [], "may_not_grant"),
        ("admin", [], ["coordinator"], None),
        ("owner", ["owner", "admin"], ["coordinator"], None),
        ({"roles:read", "roles:write"}, [], ["counsellor"], "may_not_grant"),
    ],
)
async def test_nobody_gives_what_he_lacks_and_owners_alone_give_owner_and_admin(
    world: World, as_: As, who: Any, names: list[str], groups: list[str], code: str | None
) -> None:
    """Design section 5: may_grant."""
    tenant = await world.tenant()
    await world.owner(tenant)
    bob, _ = await world.joined(tenant)
    answer = await give(as_(who, tenant.id), bob, *names, groups=tuple(groups))
    assert (answer.json().get("code"), answer.status_code) == (code, 403 if code else 200)


async def test_an_admin_cannot_touch_an_owner_nor_another_admin(world: World, as_: As) -> None:
    """R-09: owners are changed by owners only."""
    tenant = await world.tenant()
    owner, _ = await world.owner(tenant)
    bob, _ = await world.joined(tenant, roles=["admin"], granted_rights=OWNER)
    admin = as_("admin", tenant.id)
    assert (await give(admin, owner, "owner", groups=("counsellor",))).json()["code"] == "owners_only"
    assert (await give(admin, owner)).json()["code"] == "owners_only"
    assert (await give(admin, bob)).json()["code"] == "may_not_grant"


async def test_the_last_owner_cannot_be_demoted_by_anybody(world: World, as_: As) -> None:
    """R-09"""
    tenant = await world.tenant()
    owner, _ = await world.owner(tenant)
    client = as_("owner", tenant.id, id=owner.id)
    assert (await give(client, owner, "admin")).json()["code"] == "last_owner"
    bob, _ = await world.joined(tenant, roles=["owner"], granted_rights=OWNER)
    assert (await give(client, owner, "admin")).status_code == 200
    assert (await give(client, bob, "admin")).json()["code"] == "last_owner"


@pytest.mark.parametrize("end", ["lock", "revoke", "deactivate", "dates"])
async def test_an_owner_who_cannot_sign_in_does_not_count_and_the_last_one_is_kept(
    world: World, as_: As, end: str
) -> None:
    """R-09, design section 3.5: a slip is answered by suspension_refused; she can sign in, under the new epoch."""
    tenant = await world.tenant()
    owner, _ = await world.owner(tenant)
    second, _ = await world.joined(tenant, roles=["owner"], granted_rights=OWNER)
    await world.lock(second)
    assert "suspension_refused" not in await world.facts(second)
    assert (await give(as_("owner", tenant.id), owner)).json()["code"] == "last_owner"
    if end == "revoke":
        await world.revoke(owner)
    else:
        await world.lock(owner, {"lock": "locked", "deactivate": "deactivated", "dates": "outside_dates"}[end])
    assert (await world.facts(owner))[-1] == "suspension_refused"
    membership = await world.membership(owner)
    assert (membership.state, membership.epoch, membership.cut) == ("active", owner.wanted.epoch, owner.wanted.cut)
    assert (await world.sign_in(tenant, owner.login)).status_code == 201


async def test_an_owners_expiry_does_not_come_by_itself(world: World) -> None:
    """R-09, R-22: dates skip owners."""
    tenant = await world.tenant()
    owner, browser = await world.owner(tenant)
    await world.deliver(owner, world.next(owner, ends_at=datetime.now(UTC) - timedelta(days=1)))
    assert (await world.token(browser)).status_code == 200


async def test_an_operator_makes_one_owner_in_a_tenants_life(world: World) -> None:
    """Design section 5: first_owner counts once; a second one is refused and reported."""
    tenant = await world.tenant()
    await world.owner(tenant)
    second, browser = await world.owner(tenant)
    assert "grants_refused" in await world.facts(second)
    token = (await world.token(browser)).json()["access_token"]
    me = await browser.get("/identity/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert me.json()["rights"] == []


async def test_roles_come_with_the_acceptance_and_go_with_the_membership(world: World, as_: As) -> None:
    """D-06, D-16: presets may still change while pending; a revoked member has none left."""
    tenant = await world.tenant()
    await world.owner(tenant)
    bob = world.member(tenant)
    code = await world.invite(bob)
    assert (await give(as_("owner", tenant.id), bob, "admin")).json()["code"] == "not_active"
    await world.deliver(bob, world.next(bob, roles=["admin"], granted_rights=OWNER))
    await world.accept(code)
    assert (await roles(as_("owner", tenant.id), bob)).json()["roles"] == ["member", "admin"]
    await world.revoke(bob)
    assert (await roles(as_("owner", tenant.id), bob)).json()["roles"] == ["member"]


async def test_who_edits_says_which_version_was_read(world: World, as_: As) -> None:
    tenant = await world.tenant()
    await world.owner(tenant)
    bob, _ = await world.joined(tenant)
    client, path = as_("owner", tenant.id), f"/identity/v1/members/{bob.id}/roles"
    body = {"roles": ["admin"], "permission_groups": []}
    assert (await client.put(path, json=body)).status_code == 428
    assert (await client.put(path, json=body, headers={"If-Match": '"77"'})).status_code == 412


async def test_access_is_explained_by_grants_and_by_what_bars_it(world: World, as_: As) -> None:
    """R-15: every right with the grants that give it; why she cannot sign in."""
    tenant = await world.tenant()
    await world.owner(tenant)
    bob, _ = await world.joined(tenant, permission_groups=["supervisor"], granted_rights=OWNER)
    await world.lock(bob)
    answer = (await as_("admin", tenant.id).get(f"/identity/v1/members/{bob.id}/access/explain")).json()
    assert (answer["state"], answer["barred_by"], answer["credential"]) == ("active", "locked", "person")
    assert answer["rights"]["members:read"] == ["supervisor (invitation)"]


async def test_a_member_who_was_made_a_moment_ago_is_waited_for(world: World, as_: As) -> None:
    """Design section 9: up to two seconds, then 409 with Retry-After; an id that is not new is just not there."""
    tenant = await world.tenant()
    answer = await as_("admin", tenant.id).get(f"/identity/v1/members/{new_id()}/roles")
    assert (answer.status_code, answer.json()["code"]) == (409, "member_not_known_yet")
    assert answer.headers["retry-after"] == "2"
    answer = await as_("admin", tenant.id).get(f"/identity/v1/members/{uuid.uuid4()}/roles")
    assert answer.status_code == 404


CALLERS = [(None, 401), ("outsider", 404), ("member", 403), ("admin", 200)]


@pytest.mark.parametrize(("who", "status"), CALLERS)
@pytest.mark.parametrize("path", ["roles", "access/explain", "local-credential"])
async def test_four_callers_read(world: World, as_: As, path: str, who: str | None, status: int) -> None:
    """R-07: an outsider's admin sees what is not there."""
    bob, _ = await world.joined(await world.tenant())
    answer = await caller(as_, bob.tenant, who).get(f"/identity/v1/members/{bob.id}/{path}")
    assert answer.status_code == status


@pytest.mark.parametrize(("who", "status"), CALLERS)
async def test_four_callers_write_roles(world: World, as_: As, who: str | None, status: int) -> None:
    bob, _ = await world.joined(await world.tenant())
    version = (await world.membership(bob)).av
    answer = await caller(as_, bob.tenant, who).put(
        f"/identity/v1/members/{bob.id}/roles",
        json={"roles": [], "permission_groups": ["counsellor"]},
        headers={"If-Match": f'"{version}"'},
    )
    assert answer.status_code == status


def caller(as_: As, tenant: Tenant, who: str | None) -> AsyncClient:
    return as_("admin", uuid.uuid4()) if who == "outsider" else as_(who, tenant.id)
