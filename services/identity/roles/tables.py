from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped

from libs.common.db import TenantRow
from services.identity.tables import Table


class Grant(TenantRow, Table):
    """A role or permission group that a member has, and where it came from. A sync changes only its own source's."""

    __tablename__ = "grants"
    __table_args__ = (
        UniqueConstraint(
            "tenant_id", "member_id", "kind", "name", "source", "connection_id", postgresql_nulls_not_distinct=True
        ),
        ForeignKeyConstraint(["tenant_id", "member_id"], ["memberships.tenant_id", "memberships.id"]),
    )

    member_id: Mapped[UUID]
    kind: Mapped[str]  # role, permission_group
    name: Mapped[str]
    source: Mapped[str]  # manual, invitation, permission_group, sso, scim
    connection_id: Mapped[UUID | None]  # of sso: whose groups give it
    granted_by: Mapped[UUID | None]
    ends_at: Mapped[datetime | None]
