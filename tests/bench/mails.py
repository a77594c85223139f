"""From one command to the last mail taken: members, identity, notifier and SMTP, against SMTP alone."""

import asyncio
import json
import time
import urllib.request
from uuid import UUID

from libs.common.stack.visitor import Visitor
from services.notifier.messages.smtp import Relay
from tests.bench import people
from tests.bench.figures import Figure
from tests.bench.ground import Ground

CONNECTIONS = 6  # notifier's
AT_ONCE = 5_000  # people that one command takes
PATIENCE = 1200.0


def measure(ground: Ground) -> Figure:
    return asyncio.run(_measure(ground))


async def _measure(ground: Ground) -> Figure:
    count = ground.sizes.mails
    tenant = ground.tenant("mails")
    admin = await ground.admin("members")
    await people.fill(admin, tenant.id, count, domain="mails.example", uninvited=True)
    chosen = await people.ids(admin, tenant.id)
    await admin.close()
    somebody = ground.visitor()
    await asyncio.sleep(2)  # the owner's own mail
    before = _count(ground)
    somebody.token = ground.token(tenant.id, tenant.owner_id)
    started = time.perf_counter()
    _invite(somebody, chosen)
    taken = dict.fromkeys((0.01, 0.5), 0.0)
    while (arrived := _count(ground) - before) < count:
        for share, at in taken.items():
            if not at and arrived >= count * share:
                taken[share] = time.perf_counter() - started
        if time.perf_counter() - started > PATIENCE:
            raise RuntimeError(f"{arrived} of {count} mails after {PATIENCE:.0f} s")
        await asyncio.sleep(0.1)
    ours = time.perf_counter() - started
    ground.say(f"{count:,} mails in {ours:.1f} s")
    prepared = _newest(ground)
    bare = await _send(ground, prepared, count)
    ground.say(f"prepared ones in {bare:.1f} s")
    return Figure(
        what=f"{count:,} invitations until the SMTP server took the last, against sending prepared mails",
        target="≥ 40 %, stretch 70 %",
        found=f"{bare / ours:.0%}",
        bare=f"notifier's own SMTP client over {CONNECTIONS} connections, sending one finished invitation again and"
        " again to the same server (the local catcher, which takes a good part of the processor time).",
        details=[
            f"{count / ours:.0f} mails/s against {count / bare:.0f}/s, from the bulk command to the last answer",
            f"first hundredth taken after {taken[0.01]:.1f} s, half after {taken[0.5]:.1f} s, all after {ours:.1f} s",
        ],
    )


def _invite(somebody: Visitor, chosen: list[str]) -> None:
    for first in range(0, len(chosen), AT_ONCE):
        somebody.ask("POST", "/members/v1/bulk/invite", {"ids": chosen[first : first + AT_ONCE]})


async def _send(ground: Ground, content: bytes, count: int) -> float:
    relay = Relay(ground.stack.addresses.smtp)
    left = iter(range(count))

    async def lane() -> None:
        connection = await relay.connect()
        for number in left:
            await connection.begin(f"bounce+{number}@control-centre.test", str(UUID(int=number)))
            reply = await connection.hand_over(f"p{number}@mails.example", content)
            assert reply.code == 250, reply
        await connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))
    return time.perf_counter() - started


def _count(ground: Ground) -> int:
    return int(json.loads(_get(f"{ground.stack.addresses.mail}/api/state"))["messages"])


def _newest(ground: Ground) -> bytes:
    mail = ground.stack.addresses.mail
    newest = json.loads(_get(f"{mail}/api/messages?limit=1"))[0]["id"]
    return _get(f"{mail}/api/messages/{newest}/raw")


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 our own
        found: bytes = answer.read()
        return found
