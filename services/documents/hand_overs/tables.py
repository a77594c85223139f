from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Versioned
from services.documents.tables import Table


class HandOver(Versioned, Table):
    """One a leaver: asked, then settled by staff, or withdrawn because she came back."""

    __tablename__ = "hand_overs"

    member_id: Mapped[UUID]
    holder: Mapped[int]
    state: Mapped[str] = mapped_column(default="asked")
    choice: Mapped[str | None]
    successor_id: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]
