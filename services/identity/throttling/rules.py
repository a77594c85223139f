"""Throttling that slows guessing down and locks nobody out. An attempt is counted before it is judged, by digests only,
the same for accounts that do not exist.

Guessing at one account from one network waits ever longer; at one account from everywhere, half a minute at most. A
browser in which somebody signed in to the account before counts by itself: whatever others do elsewhere, she comes in.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from math import ceil

import msgspec
from sqlalchemy import bindparam, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.errors import TooMany
from services.identity.throttling.tables import Attempts, KnownDevice

FORGOTTEN_AFTER = timedelta(hours=1)
"""Without a further attempt; then counting starts again."""

_QUARTER = 15 * 60


class Browser(msgspec.Struct, frozen=True):
    """Where a request comes from. device: its long-lived cookie's value, empty where it has none."""

    ip: str
    device: str
    agent: str


class Limit(msgspec.Struct, frozen=True):
    """After `free` attempts each further one waits 2, 4, 8 … seconds, `longest` at most."""

    digest: bytes
    free: int
    longest: int
    whose: bool = True  # the account's own, forgotten when the right password comes


class TooManyTries(TooMany):
    title = "Too many attempts; wait a little"


async def limits_of_sign_in(session: AsyncSession, account: bytes, browser: Browser) -> list[Limit]:
    """account: digest() of what was typed, and of the tenant where it was typed."""
    device = digest(account, browser.device)
    if browser.device and await session.get(KnownDevice, device) is not None:
        return [Limit(device, 10, _QUARTER)]
    network = digest("network", network_of(browser.ip))
    return [
        Limit(digest(account, network), 5, _QUARTER),
        Limit(digest("everywhere", account), 50, 30),
        Limit(network, 100, 5 * 60, whose=False),
    ]


async def admit(session: AsyncSession, limits: Sequence[Limit]) -> None:
    """Count one attempt everywhere. Raises TooManyTries, and counts nothing, while one of them waits."""
    for limit in sorted(limits, key=lambda limit: limit.digest):
        if not await _count(session, limit):
            waiting = await session.scalar(select(Attempts.wait_until).where(Attempts.digest == limit.digest))
            left = (waiting - now()).total_seconds() if waiting else 1
            raise TooManyTries(retry_after=max(1, ceil(left)))


async def forgive(session: AsyncSession, limits: Sequence[Limit]) -> None:
    """The right password came: what was held against the account is forgotten, and this attempt against the network."""
    mine = [limit.digest for limit in limits if limit.whose]
    others = [limit.digest for limit in limits if not limit.whose]
    await session.execute(delete(Attempts).where(Attempts.digest.in_(mine)))
    await session.execute(update(Attempts).where(Attempts.digest.in_(others)).values(count=Attempts.count - 1))


async def remember_device(session: AsyncSession, account: bytes, browser: Browser) -> None:
    if browser.device:
        values = {"digest": digest(account, browser.device), "last_at": now()}
        query = insert(KnownDevice).values(values)
        await session.execute(query.on_conflict_do_update(index_elements=["digest"], set_=values))


def digest(*parts: object) -> bytes:
    """Of parts whose ends are marked, so that no two lists of parts have the same."""
    raw = b"".join(len(part).to_bytes(4) + part for part in map(_bytes, parts))
    return hashlib.sha256(raw).digest()


def network_of(ip: str) -> str:
    """An IPv6 subscriber has 2^64 addresses: they count as one."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    return str(ipaddress.ip_network(f"{ip}/64", strict=False)) if address.version == 6 else ip


def _bytes(part: object) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")


# The database's clock, read once the row is locked: of two at once the second must not seem to come earlier.
_COUNT = text("""
INSERT INTO attempts AS a (digest, count, last_at, wait_until)
VALUES (:digest, 1, clock_timestamp(), clock_timestamp())
ON CONFLICT (digest) DO UPDATE SET
    count = CASE WHEN a.last_at < clock_timestamp() - :forgotten THEN 1 ELSE a.count + 1 END,
    last_at = clock_timestamp(),
    wait_until = clock_timestamp() + CASE
        WHEN a.last_at < clock_timestamp() - :forgotten OR a.count < :free THEN interval '0'
        ELSE make_interval(secs => least(2 ^ least(a.count + 1 - :free, 20), :longest))
    END
WHERE a.wait_until <= clock_timestamp()
RETURNING count
""").bindparams(bindparam("forgotten", FORGOTTEN_AFTER))


async def _count(session: AsyncSession, limit: Limit) -> bool:
    """False while it waits. The row is locked from here to the end of the transaction, so that none slips by."""
    values = {"digest": limit.digest, "free": limit.free, "longest": limit.longest}
    return await session.scalar(_COUNT, values) is not None
