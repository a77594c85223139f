"""The addresses that a tenant's mail does not go to, each with a reason and an end, to be seen and repaired (R-24).

A provider that fails for everybody fills nobody's list: where one domain bounces too often in ten minutes, over all
tenants, nothing more is added, and what was added in these minutes is taken off again by a sweep.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import Conflict, Forbidden, NotFound
from libs.common.permissions import Permission
from libs.common.text import canonical_address
from libs.common.tokens import Actor
from services.notifier.bounces.tables import BounceCount
from services.notifier.messages.moves import Step, move_all
from services.notifier.messages.tables import Message
from services.notifier.suppressions.tables import Suppression
from services.notifier.tables import tenant_of

Reason = Literal["hard_bounce", "complaint", "manual"]

KEPT: dict[Reason, timedelta] = {
    "hard_bounce": timedelta(days=90),
    "complaint": timedelta(days=365),
    "manual": timedelta(days=3650),
}
WINDOW = timedelta(minutes=10)
STORM = 20
"""Hard bounces of one domain in a window from which on they are the provider's, not the addresses'."""


class AlreadySuppressed(Conflict):
    title = "This address is on the list already"


async def suppress_bounced(session: AsyncSession, message: Message, detail: str) -> None:
    digest = domain_digest(message.email_canonical)
    if await _count_bounce(session, digest) > STORM:
        await _take_off_storm(session, digest)
        return
    await _add(session, message.email, "hard_bounce", detail, message_id=message.id)


async def suppress_complained(session: AsyncSession, message: Message, detail: str) -> None:
    await _add(session, message.email, "complaint", detail, message_id=message.id)


async def suppress(session: AsyncSession, actor: Actor, *, email: str, detail: str) -> Suppression:
    """By hand. Raises AlreadySuppressed, AddressMalformed."""
    made = await _add(session, email, "manual", detail)
    if made is None:
        raise AlreadySuppressed
    note(session, actor, made, "notifier.suppression.added", reason=made.reason)
    return made


async def lift(session: AsyncSession, actor: Actor, suppression_id: UUID) -> int:
    """Take an address off the list and send what was held for it; gives how many mails. Raises NotFound."""
    suppression = await session.scalar(
        select(Suppression).where(Suppression.id == suppression_id, Suppression.lifted_at.is_(None)).with_for_update()
    )
    if suppression is None:
        raise NotFound
    note(session, actor, suppression, "notifier.suppression.lifted", reason=suppression.reason)
    return await take_off(session, suppression, by=str(actor.id))


async def take_off(session: AsyncSession, suppression: Suppression, *, by: str) -> int:
    """The gates are asked again for each mail that is released: a dead link stays dead."""
    suppression.lifted_at, suppression.lifted_by = now(), by
    held = await session.scalars(
        select(Message)
        .where(Message.email_canonical == suppression.email_canonical, Message.state == "suppressed")
        .with_for_update()
    )
    return len(await move_all(session, [(message, Step(state="queued", due_at=now())) for message in held]))


async def list_suppressions(
    session: AsyncSession, actor: Actor, *, email: str | None, after: UUID | None, limit: int
) -> Sequence[Suppression]:
    """Those in force, newest first. Raises Forbidden for an address where the actor may not see addresses."""
    query = (
        select(Suppression)
        .where(Suppression.lifted_at.is_(None), Suppression.expires_at > now())
        .order_by(Suppression.id.desc())
        .limit(limit)
    )
    if email is not None:
        if Permission.MEMBERS_CONTACT not in actor.rights:
            raise Forbidden(permission=Permission.MEMBERS_CONTACT)
        query = query.where(Suppression.email_canonical == canonical_address(email))
    if after:
        query = query.where(Suppression.id < after)
    return (await session.scalars(query)).all()


def note_export(session: AsyncSession, actor: Actor) -> None:
    """Who has taken the whole list along."""
    note(session, actor, _List(tenant_of(session), tenant_of(session)), "notifier.suppressions.exported")


class _List(msgspec.Struct, frozen=True):
    tenant_id: UUID
    id: UUID


def domain_digest(email_canonical: str) -> bytes:
    return hashlib.sha256(email_canonical.rpartition("@")[2].encode()).digest()


async def is_storm(session: AsyncSession, digest: bytes, at: datetime) -> bool:
    """Whether so many mails to this domain bounced in the window of that moment, in all tenants together."""
    bounces = await session.scalar(
        select(BounceCount.bounces).where(BounceCount.domain_digest == digest, BounceCount.window == window_of(at))
    )
    return (bounces or 0) > STORM


def window_of(at: datetime) -> datetime:
    seconds = int(WINDOW.total_seconds())
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, tz=at.tzinfo)


async def _count_bounce(session: AsyncSession, digest: bytes) -> int:
    counted = await session.execute(
        insert(BounceCount)
        .values(domain_digest=digest, window=window_of(now()), bounces=1)
        .on_conflict_do_update(index_elements=["domain_digest", "window"], set_={"bounces": BounceCount.bounces + 1})
        .returning(BounceCount.bounces)
    )
    return int(counted.scalar_one())


async def _take_off_storm(session: AsyncSession, digest: bytes) -> None:
    """This tenant's at once; the others' when their window is over (sweeps.py)."""
    added = select(Suppression).where(
        Suppression.domain_digest == digest,
        Suppression.reason == "hard_bounce",
        Suppression.lifted_at.is_(None),
        Suppression.created_at >= window_of(now()),
    )
    for suppression in await session.scalars(added.with_for_update()):
        await take_off(session, suppression, by="provider_failure")


async def _add(
    session: AsyncSession, email: str, reason: Reason, detail: str, message_id: UUID | None = None
) -> Suppression | None:
    """None: the address is on the list already; then it stays there at least as long as the new reason asks."""
    moment, canonical = now(), canonical_address(email)
    row = {
        "tenant_id": tenant_of(session),
        "email": email,
        "email_canonical": canonical,
        "domain_digest": domain_digest(canonical),
        "reason": reason,
        "detail": detail,
        "message_id": message_id,
        "due_at": moment + WINDOW if reason == "hard_bounce" else moment + KEPT[reason],
        "expires_at": moment + KEPT[reason],
    }
    made = await session.scalar(insert(Suppression).values(row).on_conflict_do_nothing().returning(Suppression))
    if made is None:
        listed = (Suppression.email_canonical == canonical) & Suppression.lifted_at.is_(None)
        longer = func.greatest(Suppression.expires_at, row["expires_at"])
        await session.execute(update(Suppression).where(listed).values(expires_at=longer))
    return made
