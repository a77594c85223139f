"""Tasks: opened once for each kind and member, closed by hand or by what was missing."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import NotFound
from libs.common.text import masked_address
from libs.common.tokens import Actor
from services.members.people.tables import Member
from services.members.tasks.tables import Task


async def open_task(session: AsyncSession, member: Member, kind: str, *, due_at: datetime | None = None) -> None:
    """Nothing happens where one of this kind is open."""
    values = {"tenant_id": member.tenant_id, "member_id": member.id, "kind": kind, "due_at": due_at or now()}
    await session.execute(insert(Task).values(values).on_conflict_do_nothing())


async def open_task_about_stranger(session: AsyncSession, tenant_id: UUID, address: str, kind: str) -> None:
    """About somebody who is no member. Nothing happens where one of this kind is open, whoever it is about."""
    values = {"tenant_id": tenant_id, "masked_address": masked_address(address), "kind": kind, "due_at": now()}
    await session.execute(insert(Task).values(values).on_conflict_do_nothing())


async def settle_tasks(session: AsyncSession, member: Member | None, kind: str) -> None:
    """What the task asked for has been done. None: for those who are no members."""
    mine = update(Task).where(
        Task.member_id == (member.id if member else None), Task.kind == kind, Task.closed_at.is_(None)
    )
    await session.execute(mine.values(closed_at=now()))


async def list_tasks(session: AsyncSession, *, after: UUID | None, limit: int) -> Sequence[tuple[Task, str | None]]:
    """Open ones, with the name of the member that they are about, newest first."""
    query = (
        select(Task, Member.display_name)
        .outerjoin(Member, (Member.tenant_id == Task.tenant_id) & (Member.id == Task.member_id))
        .where(Task.closed_at.is_(None))
        .order_by(Task.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(Task.id < after)
    return [(task, name) for task, name in (await session.execute(query)).all()]


async def close_task(session: AsyncSession, actor: Actor, task_id: UUID) -> None:
    """Closing twice is no error. Raises NotFound."""
    task = await session.scalar(select(Task).where(Task.id == task_id).with_for_update())
    if task is None:
        raise NotFound
    if task.closed_at is None:
        task.closed_at, task.closed_by = now(), actor.id
        await session.flush()
        note(session, actor, task, "members.task.closed", kind=task.kind, member_id=task.member_id)
