from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped

from libs.common.db import TenantRow
from services.members.tables import Table


class Task(TenantRow, Table):
    """At most one open task of a kind for a member, and one for all who are no members; masked_address is the first
    one's of these.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "member_id"], ["members.tenant_id", "members.id"], ondelete="CASCADE"),
        Index(
            "uq_tasks_open",
            "tenant_id",
            "member_id",
            "kind",
            unique=True,
            postgresql_where="closed_at IS NULL",
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_tasks_open", "tenant_id", "id", postgresql_where="closed_at IS NULL"),
    )

    kind: Mapped[str]
    member_id: Mapped[UUID | None]
    masked_address: Mapped[str | None]
    due_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[UUID | None]
