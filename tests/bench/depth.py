"""Does a page cost the same in a large tenant? A list with filters and orders, p95, a million members against 1,000."""

import asyncio
import statistics
import time
from urllib.parse import quote

from tests.bench import load, people
from tests.bench.figures import Figure, quantile, spread
from tests.bench.ground import Ground, Place
from tests.bench.load import request

SMALL = 1_000
QUERIES = {
    "active, by last sign-in": "column=active&sort=-last_login",
    "newest first": "sort=-created",
    "access and state of the mail, by name": "access=active&mail_state=sent&sort=name",
    "one in a thousand, by name": "guidance=fix_email&sort=name",
    "a first name (one in 211), by last sign-in": "text={word}&sort=-last_login",
    "first and last name": "text={both}&sort=name",
    "an address": "email={email}",
}


def measure(ground: Ground) -> Figure:
    return asyncio.run(_measure(ground))


async def _measure(ground: Ground) -> Figure:
    many = ground.sizes.members
    large, small = ground.tenant("large"), ground.tenant("small")
    admin = await ground.admin("members")
    started = time.monotonic()
    for tenant, count in ((small, SMALL), (large, many)):
        await people.fill(admin, tenant.id, count, domain="depth.example")
    ground.say(f"{many:,} members written in {time.monotonic() - started:.0f} s")
    word, last = (await admin.fetchval("SELECT display_name FROM members WHERE login_name = 'p5' LIMIT 1")).split()
    await admin.close()
    api = ground.api("members")
    words = {"word": quote(word), "both": quote(f"{word} {last}"), "email": "p5%40depth.example"}
    queries = {name: query.format(**words) for name, query in QUERIES.items()}

    async def ask(tenant: Place, query: str) -> list[float]:
        made = request("GET", f"{api.url}/members/v1/members?limit=20&{query}", headers=ground.bearer(tenant))
        run = await load.run(api.url, lambda: made, seconds=ground.sizes.seconds / len(queries), connections=2)
        return list(run.latencies)

    ground.stack.stop("members")
    try:
        found: dict[str, list[tuple[list[float], list[float]]]] = {name: [] for name in queries}
        for number in range(ground.sizes.pairs + 1):
            for name, query in queries.items():
                pair = await ask(large, query), await ask(small, query)
                if number:  # the first reads from the disk and makes plans
                    found[name].append(pair)
    finally:
        ground.stack.restart("members")
    ratios = [
        _p95([one for name in queries for one in found[name][n][0]])
        / _p95([one for name in queries for one in found[name][n][1]])
        for n in range(ground.sizes.pairs)
    ]
    details = [
        f"{name}: {statistics.median(_p95(a) / _p95(b) for a, b in pairs):.2f}"
        f" ({statistics.median(_p95(a) for a, _ in pairs) * 1000:.1f} ms)"
        for name, pairs in found.items()
    ]
    return Figure(
        what=f"list page with filter and sort, {many:,} members in the tenant against {SMALL:,}, p95",
        target="≤ 1.5, stretch 1.1",
        found=spread(ratios, factor=True),
        bare="the same requests in a tenant of a thousand, in the same database. The figure is of all requests below"
        " taken together; each is also shown alone, with its p95 in the large tenant.",
        details=details,
    )


def _p95(latencies: list[float]) -> float:
    return quantile(latencies, 0.95)
