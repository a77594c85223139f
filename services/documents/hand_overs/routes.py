from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import Malformed, NotFound
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from services.documents.hand_overs import rules
from services.documents.hand_overs.tables import HandOver

Limit = Annotated[int, QueryParameter(ge=1, le=200)]


class HandOverOut(msgspec.Struct):
    """documents, bytes: how much was left behind; nothing else of it is shown."""

    id: UUID
    member_id: UUID
    asked_at: datetime
    state: str
    choice: str | None
    successor_id: UUID | None
    documents: int | None = None
    bytes: int | None = None


class HandOverIn(msgspec.Struct, forbid_unknown_fields=True):
    """successor: successor_id takes everything. keep: it stays as it is, seen by nobody. erase: it goes at once."""

    choice: Literal["successor", "keep", "erase"]
    successor_id: UUID | None = None


@get("/", permission=Permission.DOCUMENTS_HAND_OVER, responses=problems(Malformed))
async def list_hand_overs(
    session: Session, cursor: FromQuery[str | None] = None, limit: Limit = 50
) -> Page[HandOverOut]:
    """Leavers whose documents nobody has decided on, oldest first."""
    after = decode_cursor("hand_overs", cursor, UUID)[0] if cursor else None
    found = await rules.list_open(session, after=after, limit=limit + 1)
    return page("hand_overs", found, limit, out=lambda row: _out(*row), keys=lambda row: (str(row[0].id),))


@post(
    "/{hand_over_id:uuid}/settle",
    permission=Permission.DOCUMENTS_HAND_OVER,
    responses=problems(NotFound, rules.AlreadySettled, rules.SuccessorNotAllowed),
)
async def settle_hand_over(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    hand_over_id: FromPath[UUID],
    data: JSONBody[HandOverIn],
) -> Response[HandOverOut]:
    settled = await rules.settle(session, actor, hand_over_id, choice=data.choice, successor_id=data.successor_id)
    return await once.answer(_out(settled), 201)


router = Router("/documents/v1/hand-overs", route_handlers=[list_hand_overs, settle_hand_over], tags=["Hand-overs"])


def _out(row: HandOver, documents: int | None = None, bytes: int | None = None) -> HandOverOut:
    return HandOverOut(row.id, row.member_id, row.created_at, row.state, row.choice, row.successor_id, documents, bytes)
