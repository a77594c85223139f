import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from libs.common.changes import note
from libs.common.db import PLATFORM
from libs.common.tokens import Actor
from services.notifier.limits.tables import MailSwitch

MOST = 5
DAY = timedelta(hours=24)
RETRY = timedelta(hours=1)
"""When a held mail is looked at again: always the same, so that it tells nothing about other tenants."""

# One statement, so that two workers cannot both be the fifth; the newest MOST times are kept. In the order of digests,
# so that two who count several addresses at once never wait for each other.
_COUNT = text("""
INSERT INTO recipient_counts AS known (digest, invited_at)
SELECT digest, ARRAY[CAST(:now AS timestamptz)] FROM unnest(CAST(:digests AS bytea[])) AS digest ORDER BY digest
ON CONFLICT (digest) DO UPDATE
SET invited_at = array_append(
    CASE WHEN cardinality(known.invited_at) >= :most THEN known.invited_at[2:] ELSE known.invited_at END, :now)
WHERE cardinality(known.invited_at) < :most OR known.invited_at[1] <= :since
RETURNING digest
""")


async def may_invite(session: AsyncSession, emails_canonical: Sequence[str], now: datetime) -> set[str]:
    """Counts an invitation to each, but for those who had five in the last 24 hours; gives the others."""
    if not emails_canonical:
        return set()
    emails = {hashlib.sha256(email.encode()).digest(): email for email in emails_canonical}
    values = {"digests": list(emails), "now": now, "since": now - DAY, "most": MOST}
    return {emails[row.digest] for row in await session.execute(_COUNT, values)}


async def read_switch(session: AsyncSession | AsyncConnection) -> Any:
    """paused_at, paused_by, reason."""
    return (await session.execute(select(MailSwitch.paused_at, MailSwitch.paused_by, MailSwitch.reason))).one()


async def pause(session: AsyncSession, actor: Actor, *, reason: str, at: datetime) -> None:
    await session.execute(update(MailSwitch).values(paused_at=at, paused_by=actor.id, reason=reason))
    note(session, actor, _Switch(PLATFORM, PLATFORM), "notifier.mail.paused", reason=reason)


async def resume(session: AsyncSession, actor: Actor) -> None:
    await session.execute(update(MailSwitch).values(paused_at=None, paused_by=None, reason=None))
    note(session, actor, _Switch(PLATFORM, PLATFORM), "notifier.mail.resumed")


class _Switch(msgspec.Struct, frozen=True):
    tenant_id: UUID
    id: UUID
