from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.identity.tables import Table


class Invitation(TenantRow, Table):
    """A member's one invitation, renewed in place: its generation rises, its id stays (R-03). No code stands here."""

    __tablename__ = "invitations"
    __table_args__ = (
        UniqueConstraint("tenant_id", "member_id"),
        ForeignKeyConstraint(["tenant_id", "member_id"], ["memberships.tenant_id", "memberships.id"]),
        Index(
            "uq_invitations_open_email", "tenant_id", "email_key", unique=True, postgresql_where=text("state = 'open'")
        ),
        Index("ix_invitations_deadline", "deadline", postgresql_where=text("state = 'open'")),
    )

    member_id: Mapped[UUID]
    state: Mapped[str]  # open, ended
    epoch: Mapped[int]
    generation: Mapped[int]
    email_key: Mapped[str | None]  # none where staff hand over a password
    deadline: Mapped[datetime]
    renewal_asked: Mapped[int] = mapped_column(default=0)  # the newest generation for which a new link was asked


class InvitationGeneration(Table):
    """What a link of this generation was made for, and how it ended: so that an old link gets a true answer."""

    __tablename__ = "invitation_generations"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "invitation_id"], ["invitations.tenant_id", "invitations.id"]),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    invitation_id: Mapped[UUID] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    address: Mapped[str]  # empty where staff hand over a password
    deadline: Mapped[datetime]
    ended: Mapped[str | None]  # accepted, expired, declined, replaced, revoked
    ended_at: Mapped[datetime | None]
