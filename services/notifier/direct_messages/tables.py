from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.notifier.tables import Table


class DirectMessage(TenantRow, Table):
    """From an admin to a member (A-41). It belongs to the holder of the membership at that time: the next sees none."""

    __tablename__ = "direct_messages"

    member_id: Mapped[UUID]
    holder: Mapped[int] = mapped_column(BigInteger)
    author_id: Mapped[UUID]
    subject: Mapped[str]
    text: Mapped[str]
    message_id: Mapped[UUID]
