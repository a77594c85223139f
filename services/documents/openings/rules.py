from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note, record
from libs.common.db import now
from libs.common.errors import NotFound
from libs.common.events.documents import DocumentsOpened
from libs.common.tokens import Actor
from services.documents.documents.tables import Document
from services.documents.openings.tables import Opening
from services.documents.people.rules import get_member


async def open_documents(session: AsyncSession, actor: Actor, *, member_id: UUID, reason: str, minutes: int) -> Opening:
    """All documents about a member, for the actor alone. Who uploaded them is told, and sees the reason."""
    member = await get_member(session, member_id)
    opening = Opening(
        tenant_id=member.tenant_id,
        member_id=member.id,
        opened_by=actor.id,
        holder=actor.holder,
        reason=reason,
        until=now() + timedelta(minutes=minutes),
        version=1,
    )
    session.add(opening)
    await session.flush()
    about = select(Document).where(Document.member_id == member.id, Document.deleted_at.is_(None))
    documents = (await session.scalars(about)).all()
    for document in documents:
        note(session, actor, document, "documents.document.opened", reason=reason, until=opening.until)
    told = sorted({document.uploader_id for document in documents})
    opened = DocumentsOpened(member_id=member.id, opened_by=actor.id, until=opening.until, uploader_ids=told)
    record(session, actor, opening, opened, reason=reason)
    return opening


async def close_opening(session: AsyncSession, actor: Actor, opening_id: UUID) -> None:
    """Before its time. Raises NotFound for what is not the actor's."""
    opening = await session.scalar(select(Opening).where(Opening.id == opening_id, _own(actor)).with_for_update())
    if opening is None:
        raise NotFound
    if opening.until > now():
        opening.until = now()
        opening.version += 1
        note(session, actor, opening, "documents.opening.closed")


async def list_openings(session: AsyncSession, actor: Actor, *, before: UUID | None, limit: int) -> Sequence[Opening]:
    """Those the actor made, and those of members about whom the actor has documents; newest first."""
    hers = select(Document.member_id).where(Document.uploader_id == actor.id, Document.uploader_holder == actor.holder)
    concerning = or_(_own(actor), Opening.member_id.in_(hers))
    query = select(Opening).where(concerning).order_by(Opening.id.desc()).limit(limit)
    return (await session.scalars(query.where(Opening.id < before) if before else query)).all()


def _own(actor: Actor) -> ColumnElement[bool]:
    """Another human who holds the same membership now has made none of the former's."""
    return and_(Opening.opened_by == actor.id, Opening.holder == actor.holder)
