"""The store and the database compared, a page at a time, so that memory stays flat.

orphan       an object that no row names: of an upload that died between two steps. Deleted.
unfinished   parts of an upload that no row names. Forgotten in the store.
lost         a document whose object is not there. Marked, so that nobody waits for it; the row stays.
foreign      an object whose key is not one of ours. Left alone, as is everything younger than a day: its row may be
             about to be written.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Row, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.changes import note
from libs.common.db import now
from libs.common.tokens import Actor
from services.documents.documents.tables import Document
from services.documents.edges import Edges
from services.documents.erasures.tables import Deletion
from services.documents.store import Found, Place, place_of
from services.documents.uploads.tables import Upload

YOUNG = timedelta(days=1)
_PAGE = 500


class Finding(msgspec.Struct, frozen=True):
    kind: Literal["orphan", "unfinished", "lost", "foreign"]
    key: str
    repaired: bool


async def reconcile(
    edges: Edges, sweeper: AsyncEngine, *, repair: bool, young: timedelta = YOUNG, tenant_id: UUID | None = None
) -> AsyncIterator[Finding]:
    """sweeper: as the sweep role, which sees the ids of all tenants. tenant_id: only this one's."""
    prefix = f"{tenant_id}/" if tenant_id else ""
    before = now() - young
    async for page in _pages(edges.store.objects(prefix)):
        for place, found in await _unnamed(sweeper, page):
            if place is not None and found.since < before:
                if repair:
                    await edges.store.delete(place)
                yield Finding("orphan", found.key, repair)
            elif place is None:
                yield Finding("foreign", found.key, False)
    async for page in _pages(edges.store.unfinished(prefix)):
        for place, found in await _unnamed(sweeper, page):
            if place is not None and found.since < before:
                if repair:
                    await edges.store.abort(place, found.multipart_id)
                yield Finding("unfinished", found.key, repair)
    async for document in _without_object(edges, sweeper, tenant_id):
        if repair:
            await _mark_lost(edges, document)
        yield Finding("lost", Place(document.tenant_id, document.object_id).key, repair)


async def _pages(found: AsyncIterator[Found]) -> AsyncIterator[list[Found]]:
    page: list[Found] = []
    async for one in found:
        page.append(one)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


async def _unnamed(sweeper: AsyncEngine, page: list[Found]) -> list[tuple[Place | None, Found]]:
    """What no document, upload or deletion names, with its place if its key is one of ours."""
    places = {found.key: place_of(found.key) for found in page}
    wanted = [(place.tenant_id, place.object_id) for place in places.values() if place]
    named: set[tuple[UUID, UUID | None]] = set()
    async with sweeper.connect() as connection:
        for table in (Document, Upload, Deletion):
            query = select(table.tenant_id, table.object_id)
            rows = await connection.execute(query.where(tuple_(table.tenant_id, table.object_id).in_(wanted)))
            named |= {(tenant_id, object_id) for tenant_id, object_id in rows}
    return [
        (place, found)
        for found in page
        if (place := places[found.key]) is None or (place.tenant_id, place.object_id) not in named
    ]


async def _without_object(
    edges: Edges, sweeper: AsyncEngine, tenant_id: UUID | None
) -> AsyncIterator[Row[UUID, UUID, UUID]]:
    """(tenant, id, object) of documents, in the order of their keys, which is that of the store's listing."""
    query = select(Document.tenant_id, Document.id, Document.object_id).where(Document.lost_at.is_(None))
    if tenant_id is not None:
        query = query.where(Document.tenant_id == tenant_id)
    place = tuple_(Document.tenant_id, Document.object_id)
    rows: Sequence[Row[UUID, UUID, UUID]] = []
    while True:
        after = query.where(place > tuple_(rows[-1].tenant_id, rows[-1].object_id)) if rows else query
        async with sweeper.connect() as connection:
            ordered = after.order_by(Document.tenant_id, Document.object_id).limit(_PAGE)
            rows = (await connection.execute(ordered)).all()
        if not rows:
            return
        stored = await _listed(edges, [Place(row.tenant_id, row.object_id).key for row in rows])
        for row in rows:
            if Place(row.tenant_id, row.object_id).key not in stored and await _is_lost(edges, row):
                yield row


async def _listed(edges: Edges, keys: list[str]) -> set[str]:
    """Which of these keys, given in order, the store lists."""
    wanted, found = set(keys), set()
    before_first = keys[0][:-1]  # what is shorter sorts before all that begin with it
    async for one in edges.store.objects(after=before_first):
        if one.key > keys[-1]:
            break
        if one.key in wanted:
            found.add(one.key)
    return found


async def _is_lost(edges: Edges, row: Row[UUID, UUID, UUID]) -> bool:
    """Asked again, one by one: it may have been removed in between."""
    async with edges.database.session(row.tenant_id) as session:
        document = await session.get(Document, (row.tenant_id, row.id))
    return document is not None and not await edges.store.has(document.place, document.size)


async def _mark_lost(edges: Edges, row: Row[UUID, UUID, UUID]) -> None:
    async with edges.database.session(row.tenant_id) as session:
        document = await session.get(Document, (row.tenant_id, row.id), with_for_update=True)
        if document is not None and document.lost_at is None:
            document.lost_at = now()
            note(session, Actor.system(row.tenant_id), document, "documents.document.lost")
