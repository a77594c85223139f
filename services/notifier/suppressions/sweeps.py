"""By the clock: what a failing provider put on the list goes off it, and so does what has expired."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.sweeps import Sweep
from services.notifier.suppressions import rules
from services.notifier.suppressions.tables import Suppression


async def look_again(session: AsyncSession, _: UUID, id: UUID) -> None:
    suppression = await session.scalar(
        select(Suppression)
        .where(Suppression.id == id, Suppression.lifted_at.is_(None), Suppression.due_at <= now())
        .with_for_update()
    )
    if suppression is None:
        return
    if suppression.expires_at <= now():
        await rules.take_off(session, suppression, by="expired")
    elif suppression.reason == "hard_bounce" and await rules.is_storm(
        session, suppression.domain_digest, suppression.created_at
    ):
        await rules.take_off(session, suppression, by="provider_failure")
    else:
        suppression.due_at = suppression.expires_at


SWEEP = Sweep(
    "suppressions",
    due=select(Suppression.tenant_id, Suppression.id).where(
        Suppression.lifted_at.is_(None), Suppression.due_at <= func.now()
    ),
    act=look_again,
    every=10,
)
