"""A leaver's documents: asking staff what shall become of them, and doing it.

`review` looks at what is, not at what happened, so it may be called after any event and in any order.
"""

from collections.abc import Collection, Sequence
from typing import Literal
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note, record
from libs.common.db import among, now
from libs.common.errors import Conflict, NotFound, Unprocessable
from libs.common.events.documents import HandOverAsked, HandOverSettled
from libs.common.tokens import Actor
from services.documents.documents.tables import Document
from services.documents.erasures.rules import remove
from services.documents.hand_overs.tables import HandOver
from services.documents.people.tables import Member

Choice = Literal["successor", "keep", "erase"]


class AlreadySettled(Conflict):
    title = "This hand-over was settled or withdrawn already"


class SuccessorNotAllowed(Unprocessable):
    """Nobody hands documents that he may not see to himself."""

    title = "The successor must be somebody else than you and the leaver, present and with access"


async def who_had_access(session: AsyncSession, member_ids: Collection[UUID]) -> Sequence[UUID]:
    """As far as we know: nobody else can have left anything behind."""
    query = select(Member.id).where(among(Member.id, member_ids), Member.av > 0).order_by(Member.id)
    return (await session.scalars(query)).all()


async def review(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> None:
    """Ask for every holder who left documents behind; withdraw where the holder has access again."""
    member = await session.get(Member, (tenant_id, member_id), populate_existing=True)
    if member is None or not member.av:
        return  # never had access, as far as we know
    has_access = member.active and member.wanted
    left = select(Document.uploader_holder, func.count()).where(Document.uploader_id == member_id)
    asked = select(HandOver).where(HandOver.member_id == member_id).order_by(HandOver.id)
    known = {row.holder: row for row in await session.scalars(asked)}  # of each holder the newest
    for holder, count in await session.execute(left.group_by(Document.uploader_holder)):
        is_back = holder == member.holder and has_access
        if not is_back and (holder not in known or known[holder].state == "withdrawn"):
            await _ask(session, member, holder, count)
    back = known.get(member.holder)
    if has_access and back is not None and back.state == "asked":
        await _settle(session, Actor.system(tenant_id), back, "withdrawn")


async def list_open(session: AsyncSession, *, after: UUID | None, limit: int) -> Sequence[tuple[HandOver, int, int]]:
    """With the number and bytes of the documents, and nothing else of them; oldest first."""
    of_leaver = (Document.uploader_id == HandOver.member_id) & (Document.uploader_holder == HandOver.holder)
    count = select(func.count()).where(of_leaver).scalar_subquery()
    size = select(cast(func.coalesce(func.sum(Document.size), 0), BigInteger)).where(of_leaver).scalar_subquery()
    query = select(HandOver, count, size).where(HandOver.state == "asked").order_by(HandOver.id).limit(limit)
    return (await session.execute(query.where(HandOver.id > after) if after else query)).all()


async def settle(
    session: AsyncSession, actor: Actor, hand_over_id: UUID, *, choice: Choice, successor_id: UUID | None
) -> HandOver:
    """Raises NotFound, AlreadySettled, SuccessorNotAllowed."""
    hand_over = await session.scalar(select(HandOver).where(HandOver.id == hand_over_id).with_for_update())
    if hand_over is None:
        raise NotFound
    if hand_over.state != "asked":
        raise AlreadySettled(state=hand_over.state)
    if (choice == "successor") != (successor_id is not None):
        raise SuccessorNotAllowed(field="successor_id")
    if successor_id is not None:
        await _give(session, actor, hand_over, successor_id)
    elif choice == "erase":
        left = await session.scalars(select(Document).where(*_of(hand_over)).with_for_update())
        await remove(session, actor, left.all())
    hand_over.successor_id = successor_id
    await _settle(session, actor, hand_over, choice)
    return hand_over


async def _give(session: AsyncSession, actor: Actor, hand_over: HandOver, successor_id: UUID) -> None:
    successor = await session.get(Member, (hand_over.tenant_id, successor_id))
    if (
        successor is None
        or successor_id in (actor.id, hand_over.member_id)
        or successor.life != "present"
        or not (successor.active and successor.wanted)
    ):
        raise SuccessorNotAllowed(field="successor_id")
    given = await session.scalars(
        update(Document)
        .where(*_of(hand_over))
        .values(uploader_id=successor.id, uploader_holder=successor.holder)
        .returning(Document)
    )
    for document in given:
        note(session, actor, document, "documents.document.handed_over", to=successor.id)


async def _ask(session: AsyncSession, member: Member, holder: int, count: int) -> None:
    """Nothing happens where somebody else asks at this moment."""
    row = {"tenant_id": member.tenant_id, "member_id": member.id, "holder": holder, "state": "asked", "version": 1}
    asking = insert(HandOver).values(**row).on_conflict_do_nothing().returning(HandOver)
    hand_over = await session.scalar(asking)
    if hand_over is not None:
        asked = HandOverAsked(member_id=member.id, holder=holder, documents=count)
        record(session, Actor.system(member.tenant_id), hand_over, asked)


async def _settle(
    session: AsyncSession, actor: Actor, hand_over: HandOver, choice: Choice | Literal["withdrawn"]
) -> None:
    if choice == "withdrawn":
        hand_over.state = "withdrawn"
    else:
        hand_over.state, hand_over.choice = "settled", choice
    hand_over.settled_at = now()
    hand_over.version += 1
    await session.flush()
    settled = HandOverSettled(
        member_id=hand_over.member_id, holder=hand_over.holder, choice=choice, successor_id=hand_over.successor_id
    )
    record(session, actor, hand_over, settled)


def _of(hand_over: HandOver) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Document.uploader_id == hand_over.member_id, Document.uploader_holder == hand_over.holder
