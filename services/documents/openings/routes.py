from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.auth import AUTHENTICATED
from libs.common.errors import Malformed, NotFound
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from libs.common.projections import MemberNotKnownYet
from libs.common.text import Line
from services.documents.openings import rules
from services.documents.openings.tables import Opening

Limit = Annotated[int, QueryParameter(ge=1, le=200)]


class OpeningIn(msgspec.Struct, forbid_unknown_fields=True):
    member_id: UUID
    reason: Line
    minutes: Annotated[int, msgspec.Meta(ge=1, le=60)] = 30


class OpeningOut(msgspec.Struct):
    id: UUID
    member_id: UUID
    opened_by: UUID
    opened_at: datetime
    until: datetime
    reason: str


@post("/", permission=Permission.DOCUMENTS_BREAK_GLASS, responses=problems(NotFound, MemberNotKnownYet))
async def open_documents(
    session: Session, actor: CurrentActor, once: OnceOnly, data: JSONBody[OpeningIn]
) -> Response[OpeningOut]:
    """Break-glass: read all documents about a member for a limited time. Whoever uploaded them is told who and why."""
    opening = await rules.open_documents(
        session, actor, member_id=data.member_id, reason=data.reason, minutes=data.minutes
    )
    return await once.answer(_out(opening), 201)


@get("/", permission=AUTHENTICATED, responses=problems(Malformed))
async def list_openings(
    session: Session, actor: CurrentActor, cursor: FromQuery[str | None] = None, limit: Limit = 50
) -> Page[OpeningOut]:
    """Those that concern documents of the caller, and those the caller made."""
    before = decode_cursor("openings", cursor, UUID)[0] if cursor else None
    found = await rules.list_openings(session, actor, before=before, limit=limit + 1)
    return page("openings", found, limit, out=_out, keys=lambda row: (str(row.id),))


@delete("/{opening_id:uuid}", permission=Permission.DOCUMENTS_BREAK_GLASS, responses=problems(NotFound))
async def close_opening(session: Session, actor: CurrentActor, opening_id: FromPath[UUID]) -> None:
    await rules.close_opening(session, actor, opening_id)


router = Router(
    "/documents/v1/openings", route_handlers=[open_documents, list_openings, close_opening], tags=["Break-glass"]
)


def _out(row: Opening) -> OpeningOut:
    return OpeningOut(row.id, row.member_id, row.opened_by, row.created_at, row.until, row.reason)
