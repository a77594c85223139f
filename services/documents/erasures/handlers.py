"""What of a member's files goes, and when: all of it with her erasure, all but records when she is anonymised."""

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.audit import forget
from libs.common.events.members import MemberErasing, MemberSaved
from libs.common.inlets import Received
from libs.common.tokens import Actor
from services.documents.documents.tables import Document
from services.documents.erasures.rules import delete_object, remove
from services.documents.erasures.tables import Erasure
from services.documents.openings.tables import Opening
from services.documents.uploads.tables import Upload


async def erase_member(session: AsyncSession, event: Received[MemberErasing]) -> None:
    """What is about her and what she uploaded; the answer follows when the last object has gone (B-25)."""
    member_id, actor = event.row_id, Actor.system(event.tenant_id)
    if await session.get(Erasure, (event.tenant_id, member_id)):
        return
    hers = or_(Document.member_id == member_id, Document.uploader_id == member_id)
    documents = (await session.scalars(select(Document).where(hers).with_for_update())).all()
    coming = or_(Upload.member_id == member_id, Upload.uploader_id == member_id)
    uploads = (await session.scalars(select(Upload).where(coming).with_for_update())).all()
    about = sum(document.member_id == member_id for document in documents)
    bytes_ = sum(document.size for document in documents)
    counts = {"about": about, "uploaded": len(documents) - about, "uploads": len(uploads), "bytes": bytes_}
    session.add(
        Erasure(
            tenant_id=event.tenant_id,
            id=member_id,
            certificate_id=event.data.certificate_id,
            erased_version=event.row_version,
            counts=counts,
        )
    )
    await remove(session, actor, documents, erasure_id=member_id)
    for upload in uploads:
        if upload.state != "done":  # else its object is the document's
            delete_object(session, upload, erasure_id=member_id)
        await session.delete(upload)
    for opening in await session.scalars(select(Opening).where(Opening.member_id == member_id)):
        await forget(session, opening.id)  # its reason may tell of her
        await session.delete(opening)


async def remove_when_anonymised(session: AsyncSession, event: Received[MemberSaved]) -> None:
    """Files and certificates about her go (C-54); records stay with the anonymised member (C-60)."""
    if event.data.life != "anonymised":
        return
    files = select(Document).where(Document.member_id == event.row_id, Document.kind != "record")
    await remove(session, Actor.system(event.tenant_id), (await session.scalars(files.with_for_update())).all())
