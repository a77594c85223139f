from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from litestar import Request, Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from libs.common.app import CurrentActor, Session, problems
from libs.common.auth import AUTHENTICATED
from libs.common.db import now
from libs.common.errors import NotFound
from libs.common.openapi import also
from libs.common.revocation import Revocations
from libs.common.tokens import Actor
from services.documents.documents.schemas import Kind
from services.documents.documents.search import Filter
from services.documents.downloads import rules
from services.documents.downloads.ranges import RangeNotSatisfiable, byte_range
from services.documents.downloads.zips import zip_documents
from services.documents.edges import FileEdges
from services.documents.names import disposition
from services.documents.store import LINK_SECONDS, StoreAway

_BYTES = "application/octet-stream"
_HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
_NOT_GIVEN = (NotFound, rules.NotCheckedYet, rules.ContentLost, StoreAway)


class LinkOut(msgspec.Struct):
    url: str
    expires_at: datetime


@get(
    "/{document_id:uuid}/content",
    permission=AUTHENTICATED,
    media_type="application/octet-stream",
    responses=also(206, bytes, "The range that was asked for", media_type=_BYTES)
    | problems(*_NOT_GIVEN, RangeNotSatisfiable),
)
async def download_document(
    request: Request, session: Session, actor: CurrentActor, edges: FileEdges, document_id: FromPath[UUID]
) -> Stream:
    """The file, or one range of it. Always an attachment."""
    document = await rules.get_downloadable(session, actor, document_id)
    version = f'"{document.sha256.hex()}"'
    asked = request.headers.get("range") if request.headers.get("if-range", version) == version else None
    part = byte_range(asked, document.size)
    start, end = part or (0, document.size)
    headers = _HARMLESS | {
        "Content-Disposition": disposition(document.name),
        "Content-Length": str(end - start),
        "Accept-Ranges": "bytes",
        "ETag": version,
    }
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{document.size}"
    status = 206 if part else 200
    if _is_head(request):
        return Stream(_nothing(), headers=headers, status_code=status, media_type=_BYTES)
    if start == 0:
        rules.note_download(session, actor, document, way="service")
    chunks = await rules.open_content(edges, document, start, end, _still_welcome(request, actor))
    return Stream(chunks, headers=headers, status_code=status, media_type=_BYTES)


@post("/{document_id:uuid}/link", permission=AUTHENTICATED, status_code=200, responses=problems(*_NOT_GIVEN))
async def make_link(session: Session, actor: CurrentActor, edges: FileEdges, document_id: FromPath[UUID]) -> LinkOut:
    """An address in the store that gives the file to whoever has it, for 60 seconds."""
    document = await rules.get_downloadable(session, actor, document_id)
    rules.note_download(session, actor, document, way="link")
    expires_at = now() + timedelta(seconds=LINK_SECONDS)
    return LinkOut(await edges.store.sign_download(document.place, disposition(document.name)), expires_at)


@get(
    "/zip",
    permission=AUTHENTICATED,
    media_type="application/zip",
    responses=problems(rules.TooMuchForOneZip),
)
async def download_all(
    request: Request,
    session: Session,
    actor: CurrentActor,
    edges: FileEdges,
    member_id: FromQuery[UUID | None] = None,
    type: FromQuery[str | None] = None,
    kind: FromQuery[Kind | None] = None,
    tag: FromQuery[str | None] = None,
    text: FromQuery[str | None] = None,
) -> Stream:
    """The documents of a list (the same filters) as one zip, with the SHA-256 of each in its last entry."""
    wanted = Filter(member_id=member_id, type=type, kind=kind, tag=tag, text=text)
    await rules.require_zippable(session, actor, wanted)
    headers = _HARMLESS | {"Content-Disposition": disposition("documents.zip")}
    zipped = zip_documents(edges, actor, wanted, may_go_on=_still_welcome(request, actor))
    return Stream(_nothing() if _is_head(request) else zipped, headers=headers, media_type="application/zip")


router = Router(
    "/documents/v1/documents", route_handlers=[download_document, make_link, download_all], tags=["Downloads"]
)


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


def _is_head(request: Request) -> bool:
    """HEAD comes as GET, and its answer is sent without the body: do not even read that."""
    return bool(request.scope["state"].get("without_body"))


def _still_welcome(request: Request, actor: Actor) -> Callable[[], bool]:
    revocations: Revocations = request.app.state.revocations
    return lambda: not revocations.refuses(actor)
