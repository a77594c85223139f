"""What a provider's groups give a member, and take (R-15)."""

import uuid

from sqlalchemy import select

from libs.common.changes import Audit
from services.identity.connections.tables import Connection
from tests.identity.oidc import BOB, MAPPING, Connected, connected
from tests.identity.story import As, World


async def test_groups_give_and_take_their_own_and_nothing_else(acme: Connected) -> None:
    """R-15: a missing claim changes nothing, an empty one takes what this connection gave; by hand stays by hand."""
    bob = await acme.invited()
    assert (await acme.map(**MAPPING)).status_code == 200
    await acme.signed_in(groups=["leads", "unknown"])
    assert await acme.grants(bob) == {("supervisor", "sso")}
    path = f"/identity/v1/members/{bob.id}/roles"
    etag = (await acme.admin.get(path)).headers["etag"]
    by_hand = {"roles": [], "permission_groups": ["supervisor", "counsellor"]}
    assert (await acme.admin.put(path, json=by_hand, headers={"If-Match": etag})).status_code == 200
    assert await _noted(acme, "identity.membership.groups_missing") == []
    await acme.signed_in()
    assert await _noted(acme, "identity.membership.groups_missing") == [bob.id]
    assert ("supervisor", "sso") in await acme.grants(bob)
    before = (await acme.world.membership(bob)).av
    await acme.signed_in(groups=["leads"])
    assert (await acme.world.membership(bob)).av == before
    await acme.signed_in(groups=[])
    assert await acme.grants(bob) == {("supervisor", "manual"), ("counsellor", "manual")}
    assert (await acme.world.membership(bob)).av > before


async def _noted(connected: Connected, fact: str) -> list[uuid.UUID]:
    """Of whom the history says so."""
    async with connected.world.doors.database.session(connected.tenant.id) as session:
        return list(await session.scalars(select(Audit.row_id).where(Audit.type == fact)))


async def test_two_connections_keep_their_grants_apart(acme: Connected, world: World, as_: As) -> None:
    bob = await acme.invited()
    await acme.map(**MAPPING)
    await acme.signed_in(groups=["leads"])
    async with connected(world, as_, acme.tenant) as other:
        await other.map(**MAPPING)
        own = world.browser()
        await world.revoke(bob)
        await world.invite(bob)
        assert (await other.visit(own, **BOB, groups=["leads"])).status_code == 303
        assert await acme.grants(bob) == {("supervisor", "sso")}
        etag = (await other.admin.get(other.path)).headers["etag"]
        assert (await other.admin.delete(other.path, headers={"If-Match": etag})).status_code == 204
        assert await acme.grants(bob) == set()
        assert (await world.token(own, acme.tenant)).status_code in (401, 403)


async def test_nobody_maps_what_he_may_not_give_and_owner_nobody(acme: Connected, as_: As) -> None:
    """Design section 5: may_grant of who confirms, at the mapping and at each sign-in."""
    owner = {"groups_claim": "groups", "groups": [{"value": "x", "roles": ["owner"]}]}
    answer = await acme.map(**owner)
    assert (answer.status_code, answer.json()["code"]) == (422, "owner_not_mapped")
    admin = as_("admin", acme.tenant.id)
    etag = (await admin.get(acme.path)).headers["etag"]
    answer = await admin.put(f"{acme.path}/mapping", json=MAPPING, headers={"If-Match": etag})
    assert (answer.status_code, answer.json()["code"]) == (403, "mapping_not_allowed")
    bob = await acme.invited()
    assert (await acme.map(**MAPPING)).status_code == 200
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        row = await session.get_one(Connection, (acme.tenant.id, uuid.UUID(acme.id)))
        row.mapping_rights = [right for right in row.mapping_rights if right != "tenant:own"]
    await acme.signed_in(groups=["admins", "leads"])
    assert await acme.grants(bob) == {("supervisor", "sso")}
