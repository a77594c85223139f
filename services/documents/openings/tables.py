from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped

from libs.common.db import Versioned
from services.documents.tables import Table


class Opening(Versioned, Table):
    """One person may read all documents about one member, until a time."""

    __tablename__ = "openings"

    member_id: Mapped[UUID]
    opened_by: Mapped[UUID]
    holder: Mapped[int]  # of who opened
    reason: Mapped[str]
    until: Mapped[datetime]
