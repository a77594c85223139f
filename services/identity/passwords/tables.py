from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.identity.tables import Table


class ResetRequest(TenantRow, Table):
    """Somebody typed this into *forgot password*. The worker finds out what it means, so that the door does the same
    for everybody, known or not; then the row is deleted.
    """

    __tablename__ = "reset_requests"

    typed: Mapped[str]


class PasswordReset(Table):
    """What a reset link of this generation was made for. No code stands here."""

    __tablename__ = "password_resets"

    person_id: Mapped[UUID] = mapped_column(ForeignKey("persons.id", ondelete="CASCADE"), primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str]
    slug: Mapped[str | None]
    deadline: Mapped[datetime]
    used_at: Mapped[datetime | None]
