from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Versioned
from services.documents.store import Place
from services.documents.tables import Table


class Document(Versioned, Table):
    """A file that is complete and was checked: before that there is only an upload. Its id is the upload's."""

    __tablename__ = "documents"

    member_id: Mapped[UUID]  # whom it is about
    member_holder: Mapped[int]  # … and which human that was: another one who takes the place over does not see it
    uploader_id: Mapped[UUID]
    uploader_holder: Mapped[int]
    visibility: Mapped[str]
    group_id: Mapped[UUID | None]
    kind: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(String))
    words: Mapped[str]  # name, description and tags, folded for the search
    valid_until: Mapped[date | None]
    content_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes]
    object_id: Mapped[UUID]
    deleted_at: Mapped[datetime | None]
    purge_at: Mapped[datetime | None]
    lost_at: Mapped[datetime | None]  # when it was found that the store has no such object

    @property
    def place(self) -> Place:
        return Place(self.tenant_id, self.object_id)
