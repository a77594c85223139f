"""Tasks: opened once for each kind and member, closed by hand or by the command that was missing."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import NotFound
from libs.common.tokens import Actor
from services.members.people.tables import Member
from services.members.tasks.tables import Task


async def open_task(session: AsyncSession, member: Member, kind: str, *, due_at: datetime | None = None) -> None:
    """Nothing happens where one of this kind is open."""
    values = {"tenant_id": member.tenant_id, "member_id": member.id, "kind": kind, "due_at": due_at or now()}
    await session.execute(insert(Task).values(values).on_conflict_do_nothing())


async def settle_tasks(session: AsyncSession, member: Member, kind: str) -> None:
    """The command that the task asked for was given."""
    mine = update(Task).where(Task.member_id == member.id, Task.kind == kind, Task.closed_at.is_(None))
    await session.execute(mine.values(closed_at=now()))


async def list_tasks(session: AsyncSession, *, after: UUID | None, limit: int) -> Sequence[tuple[Task, str]]:
    """Open ones with the member's name, newest first."""
    query = (
        select(Task, Member.display_name)
        .join(Member, (Member.tenant_id == Task.tenant_id) & (Member.id == Task.member_id))
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
