from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import Forbidden, Malformed, NotFound
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from libs.common.text import AddressMalformed
from services.members.bulk import rules
from services.members.bulk.rules import Arguments
from services.members.bulk.schemas import BulkInviteIn, BulkRevokeIn, ItemOut, ItemState, JobOut
from services.members.bulk.tables import Job, JobItem
from services.members.people.routes import Limit

_STARTING = (rules.SelectionMissing, rules.TooManyPeople, AddressMalformed, Forbidden)


@post(
    "/bulk/invite",
    permission=Permission.MEMBERS_INVITE,
    responses=problems(*_STARTING),
    status_code=202,
    summary="Invite many, by ids or by filter",
)
async def invite_many(
    session: Session, actor: CurrentActor, once: OnceOnly, data: JSONBody[BulkInviteIn]
) -> Response[JobOut]:
    """Paced under the tenant's limit; each person takes her seat when her turn comes, and has an answer of her own."""
    presets = msgspec.to_builtins(data.presets) if data.presets else None
    arguments = Arguments(invitation_hours=data.invitation_hours, presets=presets)
    job = await rules.start_job(session, actor, "invite", arguments, ids=data.ids, filter=data.filter)
    return await once.answer(await _out(session, job), 202, headers=_at(job))


@post(
    "/bulk/revoke",
    permission=Permission.MEMBERS_REVOKE,
    responses=problems(*_STARTING),
    status_code=202,
    summary="Revoke many, by ids or by filter",
)
async def revoke_many(
    session: Session, actor: CurrentActor, once: OnceOnly, data: JSONBody[BulkRevokeIn]
) -> Response[JobOut]:
    arguments = Arguments(reason=data.reason)
    job = await rules.start_job(session, actor, "revoke", arguments, ids=data.ids, filter=data.filter)
    return await once.answer(await _out(session, job), 202, headers=_at(job))


@get(
    "/jobs/{job_id:uuid}", permission=Permission.MEMBERS_READ, responses=problems(NotFound), summary="How far a job is"
)
async def read_job(session: Session, job_id: FromPath[UUID]) -> JobOut:
    return await _out(session, await rules.get_job(session, job_id))


@get(
    "/jobs/{job_id:uuid}/items",
    permission=Permission.MEMBERS_READ,
    responses=problems(NotFound, Malformed),
    summary="What became of each person",
)
async def list_items(
    session: Session,
    job_id: FromPath[UUID],
    of_state: Annotated[ItemState | None, QueryParameter(name="state")] = None,
    cursor: FromQuery[str | None] = None,
    limit: Limit = 100,
) -> Page[ItemOut]:
    name = f"job:{job_id}:{of_state}"
    after = int(decode_cursor(name, cursor, rules.Position)[0]) if cursor else -1
    rows = await rules.list_items(session, job_id, state=of_state, after=after, limit=limit + 1)
    return page(name, rows, limit, out=_item, keys=lambda row: [str(row.position)])


@post(
    "/jobs/{job_id:uuid}/withdraw",
    permission=Permission.MEMBERS_INVITE,
    responses=problems(NotFound, rules.JobFinished, Forbidden),
    status_code=202,
    summary="Stop a job, and take back what it sent",
)
async def withdraw_job(
    session: Session, actor: CurrentActor, once: OnceOnly, job_id: FromPath[UUID]
) -> Response[JobOut]:
    """What waits is dropped. Who may revoke also takes back the job's invitations that are still open, and nobody else
    stops others from being revoked.
    """
    job = await rules.withdraw_job(session, actor, job_id)
    return await once.answer(await _out(session, job), 202, headers=_at(job))


router = Router(
    "/members/v1",
    route_handlers=[invite_many, revoke_many, read_job, list_items, withdraw_job],
    tags=["Bulk commands"],
)


async def _out(session: AsyncSession, job: Job) -> JobOut:
    counts = await rules.count_items(session, job.id)
    return JobOut(
        id=job.id,
        command=job.command,
        state=job.state,  # type: ignore[arg-type]
        total=job.total,
        counts={state: counts.get(state, 0) for state in ItemState.__args__},  # type: ignore[attr-defined]
        created_at=job.created_at,
        next_at=job.due_at,
        finished_at=job.finished_at,
    )


def _at(job: Job) -> dict[str, str]:
    return {"Location": f"/members/v1/jobs/{job.id}"}


def _item(item: JobItem) -> ItemOut:
    return ItemOut(item.position, item.member_id, item.state, item.code, item.done_at)  # type: ignore[arg-type]
