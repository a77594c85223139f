"""A first invitation through HTTP, against the statements that it comes to."""

import asyncio
import itertools
from collections.abc import Callable

from tests.bench import pairs, people
from tests.bench.figures import Figure, spread
from tests.bench.ground import Ground, Place
from tests.bench.load import request
from tests.bench.pairs import Side

TENANTS = 8


def measure(ground: Ground) -> Figure:
    return asyncio.run(_measure(ground))


async def _measure(ground: Ground) -> Figure:
    sizes = ground.sizes
    each = int(600 * (sizes.seconds * sizes.pairs + 2) / TENANTS) + 100
    ground.say(f"{2 * TENANTS} tenants of {each} members")
    tenants = [ground.tenant("invite") for _ in range(2 * TENANTS)]
    admin = await ground.admin("members")
    for tenant in tenants:
        await people.fill(admin, tenant.id, each, domain=f"{tenant.slug}.example", uninvited=True)
    chosen = [await people.ids(admin, tenant.id) for tenant in tenants]
    api = ground.api("members")
    example = chosen[-1].pop()
    ground.stack.stop("members")  # nothing leaves the outbox meanwhile
    try:
        bare = ground.bare(
            "invite",
            DATABASE=ground.stack.databases["members"].app,
            TENANT=tenants[-1].id,
            MEMBER=example,
            ACTOR=tenants[-1].owner_id,
        )
        mine = _in_turn(tenants[:TENANTS], chosen[:TENANTS])
        theirs = _in_turn(tenants[TENANTS:], chosen[TENANTS:])

        def ours() -> Callable[[], bytes]:
            bearers = {tenant.id: ground.bearer(tenant) for tenant in tenants[:TENANTS]}

            def make() -> bytes:
                tenant, member = next(mine)
                url = f"{api.url}/members/v1/members/{member}/invite"
                return request("POST", url, headers=bearers[tenant.id], body=b"{}")

            return make

        def make_bare() -> bytes:
            tenant, member = next(theirs)
            return request("POST", f"{bare.url}/{tenant.id}/{member}")

        found = await pairs.measure(ground, Side(api, ours), Side(bare, lambda: make_bare))
        await admin.execute(
            "DELETE FROM outbox WHERE tenant_id = ANY($1::uuid[]) AND published_at IS NULL",
            [tenant.id for tenant in tenants],
        )
    finally:
        await admin.close()
        ground.stack.restart("members")
    return Figure(
        what="invite through HTTP, against a bare handler that runs the same statements",
        target="≥ 25 %, stretch 50 %",
        found=spread([pair.ratio for pair in found]),
        bare="the statements that our rule was heard to send for a first invitation (tenant and member locked, seat,"
        " member, outbox, history), with the ids exchanged, by asyncpg in one transaction as the same database role;"
        " same server, no token, no rules.",
        details=[f"{pairs.describe(found)}; 16 connections over {TENANTS} tenants"],
    )


def _in_turn(tenants: list[Place], chosen: list[list[str]]) -> "itertools.cycle[tuple[Place, str]]":
    """One of each tenant at a time; each person once, unless there are too few."""
    return itertools.cycle([pair for row in zip(*chosen, strict=False) for pair in zip(tenants, row, strict=True)])
