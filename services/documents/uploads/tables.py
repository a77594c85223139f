from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.documents.store import Place
from services.documents.tables import Table


class Upload(TenantRow, Table):
    """A file on its way. object_id is that of the present try, so that an earlier one that still runs can do no harm.

    open         waits for bytes, or for `complete`
    checking     all bytes are stored; they are read (again) to be checked
    quarantined  they could not be checked: reason says why; tried again
    refused      checked, and not taken: reason says why
    done         the document with the same id is there
    """

    __tablename__ = "uploads"

    state: Mapped[str] = mapped_column(default="open")
    reason: Mapped[str] = mapped_column(default="")
    request_key: Mapped[str | None]  # Idempotency-Key of an upload in one request
    uploader_id: Mapped[UUID]
    uploader_holder: Mapped[int]
    member_id: Mapped[UUID]
    visibility: Mapped[str]
    group_id: Mapped[UUID | None]
    kind: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(String))
    valid_until: Mapped[date | None]
    only_types: Mapped[list[str] | None] = mapped_column(ARRAY(String))  # all that this uploader may bring
    size: Mapped[int | None] = mapped_column(BigInteger)  # as announced, later as found
    sha256: Mapped[bytes | None]
    object_id: Mapped[UUID | None]
    multipart_id: Mapped[str | None]
    due_at: Mapped[datetime]  # open: given up; checking, quarantined: looked at (again); done, refused: forgotten

    @property
    def place(self) -> Place:
        """Of the present try."""
        assert self.object_id is not None  # noqa: S101 there is one from the first byte on
        return Place(self.tenant_id, self.object_id)
