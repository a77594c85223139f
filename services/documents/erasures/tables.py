from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.documents.store import Place
from services.documents.tables import Table


class Deletion(TenantRow, Table):
    """An object that no row names any more and that is to go from the store; written in the transaction of that."""

    __tablename__ = "deletions"

    object_id: Mapped[UUID]
    multipart_id: Mapped[str | None]
    erasure_id: Mapped[UUID | None]
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)

    @property
    def place(self) -> Place:
        return Place(self.tenant_id, self.object_id)


class Erasure(TenantRow, Table):
    """A member's erasure; id is the member's. Confirmed when the last of her objects has gone. Stays as a tombstone."""

    __tablename__ = "erasures"

    certificate_id: Mapped[UUID]
    erased_version: Mapped[int] = mapped_column(BigInteger)
    counts: Mapped[dict[str, int]] = mapped_column(JSONB)
    confirmed_at: Mapped[datetime | None]
