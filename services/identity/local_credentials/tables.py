from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.orm import Mapped

from libs.common.db import Versioned
from services.identity.tables import Table


class LocalCredential(Versioned, Table):
    """A password for one membership, set by staff for somebody without e-mail; id is the member's (T-11)."""

    __tablename__ = "local_credentials"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "id"], ["memberships.tenant_id", "memberships.id"]),)

    password_hash: Mapped[str]
    must_change: Mapped[bool]
    expires_at: Mapped[datetime | None]  # while it must be changed
    set_by: Mapped[UUID]
    set_at: Mapped[datetime]
