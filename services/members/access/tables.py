from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from services.members.tables import Table


class InvitedAddress(Table):
    """R-28: how many people a tenant invited lately. The address stands as its SHA-256 only."""

    __tablename__ = "invited_addresses"
    __table_args__ = (Index("ix_invited_addresses_invited_at", "tenant_id", "invited_at"),)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    invited_at: Mapped[datetime]
