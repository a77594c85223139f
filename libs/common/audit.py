"""The audit chain (R-26): what was written down about who did what cannot be changed, moved or taken out unnoticed.

Rows are written by `record` in the transaction that they tell of, and chained afterwards by the worker, per tenant:
within the transaction all of a tenant's changes would queue for the head of the chain.

    digest = SHA-256(salt ‖ actor, session, row and details as canonical JSON)
    chain  = SHA-256(chain of the row before ‖ position ‖ id ‖ time ‖ type ‖ digest)

The chain holds the digest, not the details: erasure (`forget`) takes away details and salt, and it still verifies.
Whoever keeps the newest value elsewhere (`audit verify` prints it) also notices rows that are gone from the end.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, null, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import Audit
from libs.common.sweeps import Sweep

_BATCH = 500
_START = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Verdict(msgspec.Struct, frozen=True):
    """What a chain says about itself: its length, its newest value, rows not chained yet, and the first thing wrong."""

    rows: int
    head: bytes
    unchained: int
    wrong: str | None


async def chain(session: AsyncSession, tenant_id: UUID, _: UUID) -> None:
    """Chain the tenant's oldest rows that are not chained yet, one worker at a time."""
    await session.execute(text("SELECT pg_advisory_xact_lock(4244, hashtext(:tenant))"), {"tenant": str(tenant_id)})
    last = (
        await session.execute(
            select(Audit.chained, Audit.chain).where(Audit.chained.is_not(None)).order_by(Audit.chained.desc()).limit(1)
        )
    ).one_or_none()
    position, head = (last.chained, last.chain) if last else (0, _START)
    rows = await session.scalars(select(Audit).where(Audit.chained.is_(None)).order_by(Audit.sequence).limit(_BATCH))
    for row in rows.all():
        position += 1
        row.salt = secrets.token_bytes(32)
        row.digest = _digest(row)
        row.chained, row.chain = position, _link(head, position, row)
        head = row.chain
    await session.flush()


CHAIN = Sweep(
    "audit_chain", select(Audit.tenant_id, Audit.tenant_id).where(Audit.chained.is_(None)).distinct(), chain, every=1
)


async def forget(session: AsyncSession, row_id: UUID) -> int:
    """Erase what the audit says about a row, and leave that something was done to it; gives the number of entries.

    Entries that are not chained yet are chained first, so that none escapes.
    """
    tenant_id = session.info["tenant_id"]
    while await session.scalar(select(func.count()).select_from(Audit).where(Audit.chained.is_(None))):
        await chain(session, tenant_id, tenant_id)
    forgotten = await session.execute(
        update(Audit)
        .where(Audit.row_id == row_id, Audit.salt.is_not(None))
        .values(details=null(), salt=None)
        .returning(Audit.id)
    )
    return len(forgotten.all())


async def verify(session: AsyncSession) -> Verdict:
    """Walk the tenant's chain from its start."""
    position, head, wrong = 0, _START, None
    while wrong is None:
        rows = await session.scalars(
            select(Audit).where(Audit.chained > position).order_by(Audit.chained).limit(_BATCH)
        )
        page: Sequence[Audit] = rows.all()
        if not page:
            break
        for row in page:
            wrong = _wrong(row, position + 1, head)
            if wrong:
                break
            position, head = position + 1, row.chain or _START
        session.expunge_all()
    unchained = await session.scalar(select(func.count()).select_from(Audit).where(Audit.chained.is_(None)))
    return Verdict(position, head, unchained or 0, wrong)


def _wrong(row: Audit, position: int, head: bytes) -> str | None:
    if row.chained != position:
        return f"entry {position} is missing"
    if row.chain != _link(head, position, row):
        return f"entry {position} ({row.id}) or the one before it was changed"
    if row.salt is not None and row.digest != _digest(row):
        return f"the details of entry {position} ({row.id}) were changed"
    if row.salt is None and row.details is not None:
        return f"entry {position} ({row.id}) was erased and filled again"
    return None


def _digest(row: Audit) -> bytes:
    about = [row.actor_kind, str(row.actor_id), row.session_id, str(row.row_id), row.details]
    return hashlib.sha256((row.salt or b"") + _canonical(about)).digest()


def _link(head: bytes, position: int, row: Audit) -> bytes:
    public = [position, str(row.id), _instant(row.created_at), row.type]
    return hashlib.sha256(head + _canonical(public) + (row.digest or b"")).digest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _instant(time: datetime) -> str:
    return str((time - _EPOCH) // timedelta(microseconds=1))
