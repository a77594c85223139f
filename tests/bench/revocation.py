"""R-10: from the command that revokes somebody until all four services refuse the token that she holds.

Everybody revoked has accepted an invitation, by mail and page, like a human.
"""

import asyncio
import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from libs.common.events.subjects import SERVICES
from tests.bench.figures import Figure, quantile
from tests.bench.ground import Ground
from tests.journeys.world import Tenant

PATIENCE = 30.0


def measure(ground: Ground) -> Figure:
    count = ground.sizes.revocations
    ground.mint_operator()
    tenant = ground.world.tenant("revoked", seats=count + 10)
    ground.trust(tenant.id)
    tenant.owner.token = ground.token(tenant.id, tenant.owner_id)
    ground.say(f"{count} people accept their invitations")
    with ThreadPoolExecutor(3) as pool:
        people = list(pool.map(lambda n: _bring_in(ground, tenant, n), range(count)))
    versions = asyncio.run(_versions(ground, people))
    found: dict[str, list[float]] = {service: [] for service in SERVICES}
    answered, everywhere = [], []
    for number, member in enumerate(people):
        if not number % 50:
            tenant.owner.token = ground.token(tenant.id, tenant.owner_id)
        # The token that her sign-in would give; argon2 is not what is measured.
        token = ground.token(tenant.id, member, av=versions[member])
        answer, refused = _revoke(ground, tenant, member, token)
        answered.append(answer)
        everywhere.append(max(refused.values()))
        for service, seconds in refused.items():
            found[service].append(seconds)
    return Figure(
        what=f"revocation until refused in all four services, {count} measured",
        target="p99 ≤ 1 s, stretch 300 ms",
        found=f"p50 {_ms(everywhere, 0.5)}, p99 {_ms(everywhere, 0.99)}",
        bare="nothing: from the moment at which the command is sent until the last of the four services has answered"
        " 401; each is asked without a pause over a connection of its own.",
        details=[
            f"the command itself was answered after p50 {_ms(answered, 0.5)}, p99 {_ms(answered, 0.99)}",
            *(f"{name}: p50 {_ms(one, 0.5)}, p99 {_ms(one, 0.99)}" for name, one in found.items()),
            f"slowest: {max(everywhere) * 1000:.0f} ms",
        ],
    )


def _bring_in(ground: Ground, tenant: Tenant, number: int) -> str:
    member = ground.world.add(tenant, f"r{number}", invite=True)
    with ground.visitor() as somebody:
        ground.world.accept(somebody, member["email"])
    return str(member["id"])


async def _versions(ground: Ground, people: list[str]) -> dict[str, int]:
    """The authorisation version that each one's tokens carry."""
    admin = await ground.admin("identity")
    rows = await admin.fetch("SELECT id, av FROM memberships WHERE id = ANY($1::uuid[])", people)
    await admin.close()
    return {str(row["id"]): row["av"] for row in rows}


def _revoke(ground: Ground, tenant: Tenant, member: str, token: str) -> tuple[float, dict[str, float]]:
    connections = {service: http.client.HTTPConnection("127.0.0.1", _port(ground, service)) for service in SERVICES}
    for service, connection in connections.items():
        assert _status(connection, service, token) == 200, service
    refused: dict[str, float] = {}
    started = time.perf_counter()

    def watch(service: str) -> None:
        while time.perf_counter() - started < PATIENCE:
            if _status(connections[service], service, token) == 401:
                refused[service] = time.perf_counter() - started
                return
            time.sleep(0.002)

    watching = [threading.Thread(target=watch, args=(service,)) for service in SERVICES]
    for thread in watching:
        thread.start()
    tenant.owner.ask("POST", f"/members/v1/members/{member}/revoke", {})
    answered = time.perf_counter() - started
    for thread in watching:
        thread.join()
    for connection in connections.values():
        connection.close()
    if set(refused) != set(SERVICES):
        raise RuntimeError(f"after {PATIENCE:.0f} s {sorted(set(SERVICES) - set(refused))} still let her in")
    return answered, refused


def _status(connection: http.client.HTTPConnection, service: str, token: str) -> int:
    connection.request("GET", f"/{service}/v1/me", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _port(ground: Ground, service: str) -> int:
    part: Any = ground.stack[service]
    return int(part.port)


def _ms(values: list[float], share: float) -> str:
    return f"{quantile(values, share) * 1000:.0f} ms"
