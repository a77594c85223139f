"""Working off what is gone: objects are deleted in the store, bins emptied, uploads given up, erasures confirmed."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import record
from libs.common.db import now
from libs.common.events.documents import MemberDocumentsErased
from libs.common.sweeps import Sweep
from libs.common.tokens import Actor
from services.documents.documents.tables import Document
from services.documents.edges import Edges
from services.documents.erasures.rules import delete_object, remove
from services.documents.erasures.tables import Deletion, Erasure
from services.documents.uploads.tables import Upload

DELETIONS_DUE = select(Deletion.tenant_id, Deletion.id).where(Deletion.due_at <= func.now()).order_by(Deletion.due_at)


async def delete_in_store(edges: Edges, tenant_id: UUID, deletion_id: UUID) -> None:
    """The row is taken, the object deleted, the row removed: repeated if we die in between, which does no harm."""
    async with edges.database.session(tenant_id) as session:
        deletion = await session.get(Deletion, (tenant_id, deletion_id), with_for_update={"skip_locked": True})
        if deletion is None or deletion.due_at > now():
            return
        deletion.attempts += 1
        deletion.due_at = now() + min(timedelta(minutes=1) * 2**deletion.attempts, timedelta(hours=6))
    if deletion.multipart_id:
        await edges.store.abort(deletion.place, deletion.multipart_id)
    await edges.store.delete(deletion.place)
    async with edges.database.session(tenant_id) as session:
        await session.delete(deletion)


async def _empty_bin(session: AsyncSession, tenant_id: UUID, document_id: UUID) -> None:
    document = await session.get(Document, (tenant_id, document_id), with_for_update=True)
    if document is not None and document.purge_at is not None and document.purge_at <= now():
        await remove(session, Actor.system(tenant_id), [document])


async def _forget_upload(session: AsyncSession, tenant_id: UUID, upload_id: UUID) -> None:
    upload = await session.get(Upload, (tenant_id, upload_id), with_for_update=True)
    if upload is None or upload.due_at > now() or upload.state not in ("open", "done", "refused"):
        return
    if upload.state == "open":
        delete_object(session, upload)
    await session.delete(upload)


async def _confirm(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> None:
    erasure = await session.get(Erasure, (tenant_id, member_id), with_for_update=True)
    left = await session.scalar(select(func.count()).where(Deletion.erasure_id == member_id))
    if erasure is None or erasure.confirmed_at is not None or left:
        return
    erasure.confirmed_at = now()
    await session.flush()
    done = MemberDocumentsErased(certificate_id=erasure.certificate_id, counts=erasure.counts)
    record(session, Actor.system(tenant_id), erasure, done)


SWEEPS = (
    Sweep(
        "empty the recycle bins",
        select(Document.tenant_id, Document.id).where(Document.purge_at <= func.now()),
        _empty_bin,
    ),
    Sweep(
        "forget uploads",
        select(Upload.tenant_id, Upload.id).where(
            Upload.due_at <= func.now(), Upload.state.in_(("open", "done", "refused"))
        ),
        _forget_upload,
    ),
    Sweep(
        "confirm erasures",
        select(Erasure.tenant_id, Erasure.id).where(Erasure.confirmed_at.is_(None)),
        _confirm,
        every=2,
    ),
)
