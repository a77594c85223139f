from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from libs.common.app import CurrentActor, Session, problems
from libs.common.auth import AUTHENTICATED
from libs.common.errors import Forbidden, Malformed, NotFound, Outdated, VersionRequired
from libs.common.etags import IfMatch, etag, version_read
from libs.common.pages import Page, decode_cursor, page
from services.documents.documents import rules
from services.documents.documents.schemas import DocumentEdit, DocumentOut, HistoryEntry, Kind, document_out
from services.documents.documents.search import Filter

Limit = Annotated[int, QueryParameter(ge=1, le=200)]


@get("/", permission=AUTHENTICATED, responses=problems(Malformed))
async def list_documents(
    session: Session,
    actor: CurrentActor,
    member_id: FromQuery[UUID | None] = None,
    type: FromQuery[str | None] = None,
    kind: FromQuery[Kind | None] = None,
    tag: FromQuery[str | None] = None,
    text: FromQuery[str | None] = None,
    bin: FromQuery[bool] = False,
    cursor: FromQuery[str | None] = None,
    limit: Limit = 50,
) -> Page[DocumentOut]:
    """About a member, as far as the caller may see; without `member_id` what the caller has uploaded; with `bin` what
    lies in the caller's recycle bin. Newest first. `type` ending in a slash means a family (`image/`).
    """
    wanted = Filter(member_id=member_id, type=type, kind=kind, tag=tag, text=text, bin=bin)
    after = decode_cursor(wanted.name(), cursor, datetime, UUID) if cursor else None
    found = await rules.list_documents(session, actor, wanted, after=after, limit=limit + 1)
    return page(
        wanted.name(), found, limit, out=document_out, keys=lambda one: (one.created_at.isoformat(), str(one.id))
    )


@get("/{document_id:uuid}", permission=AUTHENTICATED, responses=problems(NotFound))
async def read_document(session: Session, actor: CurrentActor, document_id: FromPath[UUID]) -> Response[DocumentOut]:
    document = await rules.get_document(session, actor, document_id)
    return Response(document_out(document), headers=etag(document.version))


@patch(
    "/{document_id:uuid}",
    permission=AUTHENTICATED,
    responses=problems(NotFound, Forbidden, Outdated, VersionRequired, rules.VisibilityNotAllowed, rules.GroupNotKnown),
)
async def edit_document(
    session: Session,
    actor: CurrentActor,
    document_id: FromPath[UUID],
    data: JSONBody[DocumentEdit],
    if_match: IfMatch = None,
) -> Response[DocumentOut]:
    fields = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    version = version_read(if_match)
    document = await rules.edit_document(session, actor, document_id, version=version, **fields)
    return Response(document_out(document), headers=etag(document.version))


@delete(
    "/{document_id:uuid}", permission=AUTHENTICATED, responses=problems(NotFound, Forbidden, Outdated, VersionRequired)
)
async def bin_document(
    session: Session, actor: CurrentActor, document_id: FromPath[UUID], if_match: IfMatch = None
) -> None:
    """Into its uploader's recycle bin, from which it can be restored until the tenant's deadline."""
    await rules.bin_document(session, actor, document_id, version=version_read(if_match))


@post("/{document_id:uuid}/restore", permission=AUTHENTICATED, status_code=200, responses=problems(NotFound))
async def restore_document(session: Session, actor: CurrentActor, document_id: FromPath[UUID]) -> Response[DocumentOut]:
    document = await rules.restore_document(session, actor, document_id)
    return Response(document_out(document), headers=etag(document.version))


@post("/{document_id:uuid}/erase", permission=AUTHENTICATED, status_code=204, responses=problems(NotFound))
async def erase_document(session: Session, actor: CurrentActor, document_id: FromPath[UUID]) -> None:
    """What lies in the recycle bin, for good and at once."""
    await rules.erase_document(session, actor, document_id)


@get("/{document_id:uuid}/history", permission=AUTHENTICATED, responses=problems(NotFound, Malformed))
async def list_history(
    session: Session,
    actor: CurrentActor,
    document_id: FromPath[UUID],
    cursor: FromQuery[str | None] = None,
    limit: Limit = 50,
) -> Page[HistoryEntry]:
    """Who did what with it, break-glass included: for its uploader."""
    name = f"history {document_id}"
    before = decode_cursor(name, cursor, UUID)[0] if cursor else None
    found = await rules.list_history(session, actor, document_id, before=before, limit=limit + 1)
    return page(
        name,
        found,
        limit,
        out=lambda row: HistoryEntry(row.id, row.created_at, row.type, row.actor_kind, row.actor_id, row.details),
        keys=lambda row: (str(row.id),),
    )


router = Router(
    "/documents/v1/documents",
    route_handlers=[
        list_documents,
        read_document,
        edit_document,
        bin_document,
        restore_document,
        erase_document,
        list_history,
    ],
    tags=["Documents"],
)
