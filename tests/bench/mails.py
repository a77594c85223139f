"""From one command to the last mail taken: members, identity, notifier and SMTP, against SMTP alone."""

import asyncio
import json
import time
import urllib.request
from uuid import UUID

import msgspec

from libs.common.events.subjects import SERVICES
from libs.common.stack.visitor import Visitor
from services.notifier.messages.smtp import Relay
from tests.bench import people
from tests.bench.figures import Figure
from tests.bench.ground import Ground

CONNECTIONS = 6  # notifier's
AT_ONCE = 5_000  # people that one command takes
PATIENCE = 1200.0
WARM = 200
"""Invitations before the measured ones. Then the databases are analysed, as they are in a minute by themselves: plans
made for empty tables read a tenant whole.
"""
TAKES = 0.1
"""Seconds that the slower server takes for a mail."""


def measure(ground: Ground) -> Figure:
    return asyncio.run(_measure(ground))


async def _measure(ground: Ground) -> Figure:
    count = ground.sizes.mails
    await _warm(ground)
    at_once = await _pair(ground, count)
    _tell(ground, {"action": "stall", "at": "data", "seconds": TAKES})
    try:
        later = await _pair(ground, min(count, 1_000))
    finally:
        _tell(ground)
    return Figure(
        what=f"{count:,} invitations until the SMTP server took the last, against sending prepared mails",
        target="≥ 40 %, stretch 70 %",
        found=f"{at_once.ratio:.0%}; {later.ratio:.0%} where the server takes {TAKES * 1000:.0f} ms for each",
        bare=f"notifier's own SMTP client over {CONNECTIONS} connections, sending one finished invitation again and"
        " again to the same server (the local catcher, which takes a good part of the processor time).",
        details=[
            f"{at_once.said}, from the bulk command to the last answer",
            f"first hundredth taken after {at_once.first:.1f} s, half after {at_once.half:.1f} s,"
            f" all after {at_once.ours:.1f} s",
            f"with a server that says yes {TAKES * 1000:.0f} ms after the mail, as one does that is far away or reads"
            f" what it takes: {later.said} ({later.count:,} mails)",
        ],
    )


class Pair(msgspec.Struct, frozen=True):
    """Seconds from the command until so many mails were taken, and for the prepared ones."""

    count: int
    first: float
    half: float
    ours: float
    bare: float

    @property
    def ratio(self) -> float:
        return self.bare / self.ours

    @property
    def said(self) -> str:
        return f"{self.count / self.ours:.0f} mails/s against {self.count / self.bare:.0f}/s"


async def _warm(ground: Ground) -> None:
    await _ours(ground, WARM)
    for service in SERVICES:
        admin = await ground.admin(service)
        await admin.execute("ANALYZE")
        await admin.close()


async def _pair(ground: Ground, count: int) -> Pair:
    first, half, ours = await _ours(ground, count)
    ground.say(f"{count:,} mails in {ours:.1f} s")
    bare = await _send(ground, _newest(ground), count)
    ground.say(f"prepared ones in {bare:.1f} s")
    return Pair(count, first, half, ours, bare)


async def _ours(ground: Ground, count: int) -> tuple[float, float, float]:
    """Seconds from the command until a hundredth, half and all of the mails were taken."""
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
    taken = dict.fromkeys((0.01, 0.5, 1.0), 0.0)
    while not taken[1.0]:
        await asyncio.sleep(0.1)
        arrived, passed = _count(ground) - before, time.perf_counter() - started
        for share, at in taken.items():
            if not at and arrived >= count * share:
                taken[share] = passed
        if passed > PATIENCE:
            raise RuntimeError(f"{arrived} of {count} mails after {PATIENCE:.0f} s")
    return taken[0.01], taken[0.5], taken[1.0]


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


def _tell(ground: Ground, *rules: dict[str, object]) -> None:
    """What the catcher does instead of answering at once."""
    url = f"{ground.stack.addresses.mail}/api/behaviour"
    asked = urllib.request.Request(url, json.dumps(rules).encode(), method="PUT")  # noqa: S310 our own
    with urllib.request.urlopen(asked, timeout=60):  # noqa: S310
        pass


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 our own
        found: bytes = answer.read()
        return found
