"""The worker's side of bulk commands: due jobs are worked off, a few items in a transaction.

Where one of these is refused, each gets a transaction of its own, and only that one is marked as refused.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import Database, now
from libs.common.errors import AppError, NotFound
from libs.common.tokens import Actor
from libs.common.worker import Task, Worker
from services.members.access import rules as access
from services.members.access.limits import InvitationLimitReached
from services.members.access.presets import Presets
from services.members.bulk.rules import WAITING, Arguments, drop_waiting
from services.members.bulk.tables import Job, JobItem
from services.members.hold import Held, find_all_held
from services.members.people.tables import Member
from services.members.tenants.rules import get_tenant

log = structlog.get_logger()

_DUE = select(Job.tenant_id, Job.id).where(Job.due_at <= func.now()).order_by(Job.due_at).limit(4)
_AT_ONCE = 25
"""Items in one transaction: the tenant's row is locked as long as these take."""
_TURN = 5
"""Transactions before the next job has its turn."""
_PUT_OFF = timedelta(seconds=30)


async def work(worker: Worker) -> None:
    while not worker.stopping.is_set():
        async with worker.sweeper.connect() as connection:
            due = (await connection.execute(_DUE)).all()
        await asyncio.gather(*(_turn(worker, tenant_id, job_id) for tenant_id, job_id in due))
        if not due:
            await worker.pause(1)


TASK = Task("bulk", work)


async def _turn(worker: Worker, tenant_id: UUID, job_id: UUID) -> None:
    """A job that fails for another reason than a refusal is put off, and stands in nobody's way."""
    try:
        for _ in range(_TURN):
            if worker.stopping.is_set() or not await do_next(worker.database, tenant_id, job_id, _AT_ONCE):
                return
    except Exception:
        log.exception("job_failed", tenant_id=str(tenant_id), job_id=str(job_id))
        async with worker.database.session(tenant_id) as session:
            await session.execute(update(Job).where(Job.id == job_id).values(due_at=now() + _PUT_OFF))


async def do_next(database: Database, tenant_id: UUID, job_id: UUID, most: int = 1) -> bool:
    """The next items of the job; False where none is left for now. Two workers never do the same item."""
    position, refused_is = -1, "refused"
    try:
        async with database.session(tenant_id) as session:
            job = await _lock_due(session, job_id)
            items = await _next_items(session, job, most) if job else []
            if job is None or not items:
                return False
            if job.state == "withdrawing":
                refused_is = "done"  # it stays as it is, and the code says why
            position = items[0].position
            members = await find_all_held(session, [item.member_id for item in items])
            for item in items:
                position = item.position
                await (_take_back if job.state == "withdrawing" else _run)(
                    session, job, item, members.get(item.member_id)
                )
    except AppError as refused:
        if most > 1:
            return await _one_by_one(database, tenant_id, job_id, most)
        if isinstance(refused, InvitationLimitReached):
            await _queue(database, tenant_id, job_id, timedelta(seconds=float(str(refused.params["retry_after"]))))
            return False
        async with database.session(tenant_id) as session:
            one = update(JobItem).where(JobItem.job_id == job_id, JobItem.position == position)
            await session.execute(one.values(state=refused_is, code=refused.code(), done_at=now()))
    return True


async def _one_by_one(database: Database, tenant_id: UUID, job_id: UUID, most: int) -> bool:
    for _ in range(most):
        if not await do_next(database, tenant_id, job_id):
            return False
    return True


async def _lock_due(session: AsyncSession, job_id: UUID) -> Job | None:
    """None where it is not due any more, or another worker is at it. A job whose actor lost his access ends here."""
    query = select(Job).where(Job.id == job_id, Job.due_at <= func.now()).with_for_update(skip_locked=True)
    job = await session.scalar(query)
    if job is None:
        return None
    if (await get_tenant(session)).state != "open":
        job.due_at = now() + _PUT_OFF  # it goes on where the tenant is opened again
        return None
    standing = await session.scalar(select(Member.column).where(Member.id == UUID(str(job.actor["id"]))))
    if standing not in (None, "active"):
        job.state, job.due_at, job.finished_at = "stopped", None, now()
        await drop_waiting(session, job, "actor_lost_access")
        return None
    return job


async def _next_items(session: AsyncSession, job: Job, most: int) -> Sequence[JobItem]:
    query = select(JobItem).where(JobItem.job_id == job.id).order_by(JobItem.position).limit(most)
    if job.state == "withdrawing":
        query = query.where(JobItem.state == "done", JobItem.code.is_(None))
    else:
        query = query.where(JobItem.state.in_(WAITING))
    items = (await session.scalars(query)).all()
    if not items:
        job.state = "withdrawn" if job.state == "withdrawing" else "done"
        job.due_at, job.finished_at = None, now()
    return items


async def _run(session: AsyncSession, job: Job, item: JobItem, held: Held | None) -> None:
    actor, given = _actor(job), msgspec.convert(job.arguments, Arguments)
    if held is None:
        raise NotFound
    if job.command == "invite":
        presets = msgspec.convert(given.presets, Presets) if given.presets is not None else None
        await access.invite_held(session, actor, held, hours=given.invitation_hours, presets=presets)
    else:
        await access.revoke_held(session, actor, held, reason=given.reason)
    item.state, item.code, item.generation, item.done_at = "done", None, held.member.generation, now()


async def _take_back(session: AsyncSession, job: Job, item: JobItem, held: Held | None) -> None:
    """Only the invitation that this job sent; who has accepted stays, and so does what somebody sent since."""
    open_ = held is not None and held.member.access == "invited"
    if held is not None and open_ and held.member.generation == item.generation:
        await access.revoke_held(session, _actor(job), held)
        item.state, item.done_at = "withdrawn", now()
    else:
        item.code = "invited_again" if open_ else "not_invited"


async def _queue(database: Database, tenant_id: UUID, job_id: UUID, wait: timedelta) -> None:
    async with database.session(tenant_id) as session:
        job = await session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is not None and job.state == "running":
            job.due_at = now() + wait
            waiting = update(JobItem).where(JobItem.job_id == job_id, JobItem.state == "waiting")
            await session.execute(waiting.values(state="queued_by_limit"))


def _actor(job: Job) -> Actor:
    told = {**job.actor, "tenant_id": str(job.tenant_id), "expires_at": float("inf")}
    return msgspec.convert(told, Actor)
