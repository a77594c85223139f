from datetime import datetime
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.notifier.tables import Table


class DeliveryReport(TenantRow, Table):
    """What came back for a message: a delivery report or a complaint, each once however often it is sent."""

    __tablename__ = "delivery_reports"
    __table_args__ = (UniqueConstraint("tenant_id", "message_id", "digest"),)

    message_id: Mapped[UUID]
    digest: Mapped[bytes]
    kind: Mapped[str]
    status: Mapped[str | None]
    diagnostic: Mapped[str]
    server: Mapped[str]


class BounceCount(Table):
    """Hard bounces of one mail domain over all tenants, by ten minutes. Read by digest and window only."""

    __tablename__ = "bounce_counts"

    domain_digest: Mapped[bytes] = mapped_column(primary_key=True)
    window: Mapped[datetime] = mapped_column(primary_key=True)
    bounces: Mapped[int]
