"""What may be sent out, and what the history says of it."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.errors import Conflict, Gone, NotFound, TooLarge
from libs.common.tokens import Actor
from services.documents.documents.rules import find_document, list_documents, seen
from services.documents.documents.search import Filter
from services.documents.documents.tables import Document
from services.documents.edges import Edges
from services.documents.store import ObjectMissing
from services.documents.tenants.rules import tenant_of
from services.documents.uploads.tables import Upload

_PAGE = 100
MOST_FILES, MOST_BYTES = 20_000, 200 * 1024**3
_ASK_AGAIN = 16 * 1024 * 1024  # bytes after which it is asked whether the caller is still welcome
_log = structlog.get_logger()


class NotCheckedYet(Conflict):
    """For its uploader only: to others it does not exist yet. reason says what is missing."""

    title = "The file has not been checked yet and cannot be downloaded"


class ContentLost(Gone):
    title = "The store does not have this file any more"


class TooMuchForOneZip(TooLarge):
    title = "This is more than goes into one zip; narrow the list"


class Interrupted(Exception):
    """Half an answer is out: only a broken connection can say that no more will come."""


async def get_downloadable(session: AsyncSession, actor: Actor, document_id: UUID) -> Document:
    """Raises NotFound, NotCheckedYet, ContentLost."""
    document = await find_document(session, actor, document_id)
    if document is None:
        waiting = select(Upload).where(
            Upload.id == document_id,
            Upload.uploader_id == actor.id,
            Upload.uploader_holder == actor.holder,
            Upload.state.in_(("checking", "quarantined")),
        )
        upload = await session.scalar(waiting)
        raise NotCheckedYet(reason=upload.reason or "checking", retry_after=30) if upload else NotFound
    if document.lost_at is not None:
        raise ContentLost
    return document


def note_download(session: AsyncSession, actor: Actor, document: Document, *, way: str) -> None:
    note(session, actor, document, "documents.document.downloaded", way=way)


async def open_content(
    edges: Edges, document: Document, start: int, end: int, may_go_on: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The bytes from start to end. What can go wrong at the beginning is raised here: ContentLost, StoreAway."""
    chunks = edges.store.read(document.place, start, end)
    try:
        first = await anext(chunks, b"")
    except ObjectMissing as error:
        _log.error("object_missing", document_id=str(document.id))
        raise ContentLost from error

    async def rest() -> AsyncIterator[bytes]:
        yield first
        since = 0
        async for chunk in chunks:
            since += len(chunk)
            if since >= _ASK_AGAIN:
                since = 0
                if not may_go_on():
                    raise Interrupted
            yield chunk

    return rest()


async def require_zippable(session: AsyncSession, actor: Actor, wanted: Filter) -> None:
    """Raises TooMuchForOneZip."""
    size = func.coalesce(func.sum(Document.size), 0)
    found = await session.execute(select(func.count(), size).where(*seen(actor, wanted)))
    count, bytes_ = found.one()
    if count > MOST_FILES or bytes_ > MOST_BYTES:
        raise TooMuchForOneZip(files=count, bytes=int(bytes_), most_files=MOST_FILES, most_bytes=MOST_BYTES)


async def documents_to_zip(edges: Edges, actor: Actor, wanted: Filter) -> AsyncIterator[Document]:
    """Page by page, each in a transaction of its own: what the caller may see at that moment."""
    after: tuple[datetime, UUID] | None = None
    while True:
        async with edges.database.session(tenant_of(actor)) as session:
            found = await list_documents(session, actor, wanted, after=after, limit=_PAGE)
            for document in found:
                note_download(session, actor, document, way="zip")
        for document in found:
            yield document
        if len(found) < _PAGE:
            return
        after = found[-1].created_at, found[-1].id
