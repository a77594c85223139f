"""All documents of a list as one zip, made while it is sent: nothing is kept, and 64-bit sizes are used where needed.

Names are safe and unique. What the caller may see is asked again for every page of documents, in a transaction of its
own, because a zip may take an hour. The last entry lists the SHA-256 of every file, as `sha256sum -c` reads it.
"""

import zipfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog

from libs.common.tokens import Actor
from services.documents.documents.search import Filter
from services.documents.documents.tables import Document
from services.documents.downloads.rules import Interrupted, documents_to_zip
from services.documents.edges import Edges
from services.documents.names import Names
from services.documents.store import ObjectMissing

MANIFEST = "SHA256SUMS"
_log = structlog.get_logger()


class _Sink:
    """What zipfile writes to; drained after each write. It cannot seek, so zipfile never tries to correct a header."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, chunk: Any, /) -> int:
        self._written.append(bytes(chunk))
        return len(chunk)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def drain(self) -> bytes:
        written = b"".join(self._written)
        self._written.clear()
        return written


async def zip_documents(
    edges: Edges, actor: Actor, wanted: Filter, *, may_go_on: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """may_go_on: asked before each file; the stream breaks off when the caller's token was revoked meanwhile."""
    sink, names, manifest = _Sink(), Names(MANIFEST), list[str]()
    archive = zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED)
    async for document in documents_to_zip(edges, actor, wanted):
        if not may_go_on():
            raise Interrupted
        name = names.unique(document.name)
        try:
            async for piece in _entry(archive, sink, edges, document, name):
                yield piece
        except ObjectMissing:
            manifest.append(f"# missing: {name}")
            _log.error("object_missing", document_id=str(document.id))
            continue
        manifest.append(f"{document.sha256.hex()}  {name}")
    archive.writestr(MANIFEST, "".join(f"{line}\n" for line in manifest))
    archive.close()
    yield sink.drain()


async def _entry(
    archive: zipfile.ZipFile, sink: _Sink, edges: Edges, document: Document, name: str
) -> AsyncIterator[bytes]:
    chunks = edges.store.read(document.place)
    first = await anext(chunks, b"")  # before the header is written: the object may be missing
    info = zipfile.ZipInfo(name, document.created_at.timetuple()[:6])
    info.external_attr = 0o600 << 16
    with archive.open(info, "w", force_zip64=document.size >= zipfile.ZIP64_LIMIT) as entry:
        entry.write(first)
        yield sink.drain()
        async for chunk in chunks:
            entry.write(chunk)
            yield sink.drain()
    yield sink.drain()
