from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, DateTime
from sqlalchemy.orm import Mapped, mapped_column

from services.notifier.tables import Table


class RecipientCount(Table):
    """When an address was last invited, by whichever tenant: the newest few. Read by digest only."""

    __tablename__ = "recipient_counts"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    invited_at: Mapped[list[datetime]] = mapped_column(ARRAY(DateTime(timezone=True)))


class MailSwitch(Table):
    """One row. While paused_at is set, nothing is sent; what is queued waits."""

    __tablename__ = "mail_switch"

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[UUID | None]
    reason: Mapped[str | None]
