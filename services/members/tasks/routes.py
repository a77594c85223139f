from datetime import datetime
from uuid import UUID

from litestar import Router, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Struct

from libs.common.app import CurrentActor, Session, problems
from libs.common.errors import Malformed, NotFound
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from services.members.people.routes import Limit
from services.members.tasks import rules
from services.members.tasks.tables import Task


class TaskOut(Struct):
    """kind: renewal_asked, seat_missing, grants_refused or owner_has_expiry. Whom the tenant's identity provider
    vouches for while no seat is free is no member yet: then there is a masked address instead of a name.
    """

    id: UUID
    kind: str
    member_id: UUID | None
    display_name: str | None
    masked_address: str | None
    due_at: datetime
    created_at: datetime


@get("/", permission=Permission.MEMBERS_READ, responses=problems(Malformed), summary="Open tasks, newest first")
async def list_tasks(session: Session, cursor: FromQuery[str | None] = None, limit: Limit = 50) -> Page[TaskOut]:
    after = decode_cursor("tasks", cursor, UUID)[0] if cursor else None
    rows = await rules.list_tasks(session, after=after, limit=limit + 1)
    return page("tasks", rows, limit, out=_out, keys=lambda row: [str(row[0].id)])


@post(
    "/{task_id:uuid}/close",
    permission=Permission.MEMBERS_WRITE,
    responses=problems(NotFound),
    status_code=204,
    summary="Close a task",
)
async def close_task(session: Session, actor: CurrentActor, task_id: FromPath[UUID]) -> None:
    await rules.close_task(session, actor, task_id)


router = Router("/members/v1/tasks", route_handlers=[list_tasks, close_task], tags=["Tasks"])


def _out(row: tuple[Task, str | None]) -> TaskOut:
    task, name = row
    return TaskOut(task.id, task.kind, task.member_id, name, task.masked_address, task.due_at, task.created_at)
