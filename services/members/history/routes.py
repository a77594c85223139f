from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Router, get
from litestar.params import FromPath, FromQuery
from msgspec import Struct

from libs.common.app import CurrentActor, Session, problems
from libs.common.changes import Audit
from libs.common.errors import Malformed, NotFound
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from services.members.history import rules
from services.members.people.routes import Limit


class EntryOut(Struct):
    """fact: what happened. details: what changed (from, to), the reason, what was answered too late to count."""

    id: UUID
    at: datetime
    fact: str
    actor_kind: str
    actor_id: UUID
    details: dict[str, Any]


@get(
    "/",
    permission=Permission.HISTORY_READ,
    responses=problems(NotFound, Malformed),
    summary="What happened, newest first",
)
async def list_history(
    session: Session,
    actor: CurrentActor,
    member_id: FromPath[UUID],
    cursor: FromQuery[str | None] = None,
    limit: Limit = 50,
) -> Page[EntryOut]:
    of_list = f"history:{member_id}"
    after = decode_cursor(of_list, cursor, UUID)[0] if cursor else None
    rows = await rules.list_history(session, member_id, after=after, limit=limit + 1)

    def out(row: Audit) -> EntryOut:
        fact = row.type.removeprefix("members.member.")
        return EntryOut(row.id, row.created_at, fact, row.actor_kind, row.actor_id, rules.told(row.details, actor))

    return page(of_list, rows, limit, out=out, keys=lambda row: [str(row.id)])


router = Router("/members/v1/members/{member_id:uuid}/history", route_handlers=[list_history], tags=["History"])
