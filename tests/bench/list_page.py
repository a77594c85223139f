"""A page of 20 members: token, permission, row level security and our answer, against none of these."""

import asyncio
from collections.abc import Callable

from tests.bench import pairs, people
from tests.bench.figures import Figure, spread
from tests.bench.ground import Ground
from tests.bench.load import request
from tests.bench.pairs import Side


def measure(ground: Ground) -> Figure:
    return asyncio.run(_measure(ground))


async def _measure(ground: Ground) -> Figure:
    tenant = ground.tenant("page")
    admin = await ground.admin("members")
    await people.fill(admin, tenant.id, 1_000, domain="page.example")
    await admin.close()
    api = ground.api("members")
    bare = ground.bare("list", DATABASE=ground.stack.databases["members"].migrate)
    plain = request("GET", f"{bare.url}/{tenant.id}")
    ground.stack.stop("members")
    try:

        def ours() -> Callable[[], bytes]:
            made = request("GET", f"{api.url}/members/v1/members?limit=20", headers=ground.bearer(tenant))
            return lambda: made

        found = await pairs.measure(ground, Side(api, ours), Side(bare, lambda: lambda: plain))
    finally:
        ground.stack.restart("members")
    return Figure(
        what="list page of 20 members, against a bare Litestar + asyncpg handler with the same select",
        target="≥ 45 %, stretch 65 %",
        found=spread([pair.ratio for pair in found]),
        bare="the same select with the tenant written into it, read by a role that row level security lets pass, on an"
        " asyncpg pool without its reset query, rows as JSON by Litestar; same server, one process, no token, no"
        " permission, no transaction.",
        details=[f"{pairs.describe(found)}; 16 connections"],
    )
