from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.members.tables import Table


class Job(TenantRow, Table):
    """due_at: when the worker goes on with it; none where nothing is left to do."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_due", "due_at", postgresql_where="due_at IS NOT NULL"),)

    command: Mapped[str]
    state: Mapped[str] = mapped_column(default="running")
    arguments: Mapped[dict[str, object]] = mapped_column(JSONB)
    actor: Mapped[dict[str, object]] = mapped_column(JSONB)
    """Who asked for it, with the rights of that moment: each item runs with these."""
    total: Mapped[int]
    due_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobItem(Table):
    """One person of a job. code: the problem's, where the command was refused."""

    __tablename__ = "job_items"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.id"], ondelete="CASCADE"),
        Index("ix_job_items_state", "tenant_id", "job_id", "state", "position"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    state: Mapped[str] = mapped_column(default="waiting")
    code: Mapped[str | None]
    generation: Mapped[int | None]
    done_at: Mapped[datetime | None]
