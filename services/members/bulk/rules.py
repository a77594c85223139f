"""Jobs: made with all their items at once, worked off one item a transaction, stopped or withdrawn at any time.

A process may die anywhere: what is done is done with its item's answer, what is not is still waiting.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import Conflict, Forbidden, NotFound, Unprocessable
from libs.common.permissions import Permission
from libs.common.tokens import Actor
from services.members.bulk.schemas import MOST
from services.members.bulk.tables import Job, JobItem
from services.members.people.listing import MemberFilter, ids_statement, read_filter

Position = Annotated[str, Meta(pattern=r"^[0-9]{1,5}$(?!\n)")]
WAITING = ("waiting", "queued_by_limit")


class TooManyPeople(Unprocessable):
    """Params: most."""

    title = "This is more people than one command takes"


class SelectionMissing(Unprocessable):
    title = "Give either ids or a filter"


class JobFinished(Conflict):
    title = "There is nothing left to withdraw"


class Arguments(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the command is given for each person."""

    invitation_hours: int | None = None
    presets: dict[str, list[str]] | None = None
    reason: str | None = None


async def start_job(
    session: AsyncSession,
    actor: Actor,
    command: str,
    arguments: Arguments,
    *,
    ids: Sequence[UUID] | None,
    filter: MemberFilter | None,
) -> Job:
    """Every id gets an item, also one that is not there: it is answered not_found.

    Raises SelectionMissing, TooManyPeople, Forbidden for a filter that the actor may not use.
    """
    if (ids is None) == (filter is None):
        raise SelectionMissing
    chosen = list(dict.fromkeys(ids)) if ids is not None else await _found(session, actor, filter or MemberFilter())
    job = Job(
        tenant_id=session.info["tenant_id"],
        command=command,
        arguments=msgspec.to_builtins(arguments),
        actor=_kept(actor),
        total=len(chosen),
        due_at=now(),
    )
    session.add(job)
    await session.flush()
    about = {"tenant_id": job.tenant_id, "job_id": job.id, "state": "waiting"}
    rows = [{**about, "position": n, "member_id": member_id} for n, member_id in enumerate(chosen)]
    if rows:
        await session.execute(insert(JobItem), rows)
    note(session, actor, job, "members.job.started", command=command, total=job.total)
    return job


async def withdraw_job(session: AsyncSession, actor: Actor, job_id: UUID) -> Job:
    """What waits is not done any more; where the actor may revoke, invitations that are still open are revoked, by him.

    Raises NotFound, JobFinished, Forbidden for who stops what he could not have begun.
    """
    job = await session.scalar(select(Job).where(Job.id == job_id).with_for_update())
    if job is None:
        raise NotFound
    may_revoke = Permission.MEMBERS_REVOKE in actor.rights
    if job.command == "revoke" and not may_revoke:
        raise Forbidden(permission=Permission.MEMBERS_REVOKE)
    take_back = may_revoke and job.command == "invite"
    if job.state in ("withdrawing", "withdrawn") or (job.state != "running" and not take_back):
        raise JobFinished
    if take_back:
        job.state, job.actor, job.due_at, job.finished_at = "withdrawing", _kept(actor), now(), None
    else:
        job.state, job.due_at, job.finished_at = "withdrawn", None, now()
    await drop_waiting(session, job)
    note(session, actor, job, "members.job.withdrawn", take_back=take_back)
    return job


async def drop_waiting(session: AsyncSession, job: Job, code: str | None = None) -> None:
    await session.flush()
    waiting = update(JobItem).where(JobItem.job_id == job.id, JobItem.state.in_(WAITING))
    await session.execute(waiting.values(state="withdrawn", code=code, done_at=now()))


async def get_job(session: AsyncSession, job_id: UUID) -> Job:
    job = await session.scalar(select(Job).where(Job.id == job_id))
    if job is None:
        raise NotFound
    return job


async def count_items(session: AsyncSession, job_id: UUID) -> Mapping[str, int]:
    query = select(JobItem.state, func.count()).where(JobItem.job_id == job_id).group_by(JobItem.state)
    return {row[0]: row[1] for row in (await session.execute(query)).all()}


async def list_items(
    session: AsyncSession, job_id: UUID, *, state: str | None, after: int, limit: int
) -> Sequence[JobItem]:
    """By position, those after this one. Raises NotFound."""
    await get_job(session, job_id)
    query = select(JobItem).where(JobItem.job_id == job_id, JobItem.position > after)
    if state is not None:
        query = query.where(JobItem.state == state)
    return (await session.scalars(query.order_by(JobItem.position).limit(limit))).all()


async def _found(session: AsyncSession, actor: Actor, filter: MemberFilter) -> list[UUID]:
    wanted = read_filter(filter, actor)
    connection = await session.connection()
    statement = ids_statement(wanted.columns, wanted.conditions, MOST + 1, wanted.rare)
    found = await connection.exec_driver_sql(statement, wanted.values)
    ids = [row[0] for row in found]
    if len(ids) > MOST:
        raise TooManyPeople(most=MOST)
    return ids


def _kept(actor: Actor) -> dict[str, object]:
    kept = {name: getattr(actor, name) for name in ("kind", "id", "session_id", "rights")}
    return {**msgspec.to_builtins(kept), "rights": sorted(actor.rights)}
