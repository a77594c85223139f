"""Removing for good: the row goes in this transaction, the object in the store by a deletion that is tried again."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.audit import forget
from libs.common.changes import record
from libs.common.db import now
from libs.common.events.documents import DocumentRemoved
from libs.common.tokens import Actor
from services.documents.documents.tables import Document
from services.documents.erasures.tables import Deletion
from services.documents.uploads.tables import Upload


async def remove(
    session: AsyncSession, actor: Actor, documents: Sequence[Document], *, erasure_id: UUID | None = None
) -> None:
    """The history keeps that they were there, by id; with an erasure it forgets what was said about them."""
    for document in documents:
        delete_object(session, document, erasure_id=erasure_id)
        await session.delete(document)
    await session.flush()
    for document in documents:
        document.version += 1
        gone = DocumentRemoved(member_id=document.member_id, uploader_id=document.uploader_id)
        record(session, actor, document, gone)
        if erasure_id is not None:
            await session.flush()
            await forget(session, document.id)


def delete_object(session: AsyncSession, row: Document | Upload, *, erasure_id: UUID | None = None) -> None:
    """For a row that is removed, or tried again with a new object. An upload without a byte has none."""
    if row.object_id is None:
        return
    session.add(
        Deletion(
            tenant_id=row.tenant_id,
            object_id=row.object_id,
            multipart_id=row.multipart_id if isinstance(row, Upload) else None,
            erasure_id=erasure_id,
            due_at=now(),
        )
    )
