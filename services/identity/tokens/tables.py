from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from services.identity.tables import Table


class RefreshFamily(Table):
    """All refresh tokens that came from one, for one tenant of one session; it ends with either."""

    __tablename__ = "refresh_families"
    __table_args__ = (
        ForeignKeyConstraint(
            ["session_id", "tenant_id"],
            ["session_memberships.session_id", "session_memberships.tenant_id"],
            ondelete="CASCADE",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    session_id: Mapped[UUID] = mapped_column(index=True)
    tenant_id: Mapped[UUID]
    newest: Mapped[int] = mapped_column(default=1)  # place of the newest token


class RefreshToken(Table):
    """The digest of a refresh token. Its successor is derived from it and the salt, so that no token is stored."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    family_id: Mapped[UUID] = mapped_column(ForeignKey("refresh_families.id", ondelete="CASCADE"), index=True)
    place: Mapped[int]
    used_at: Mapped[datetime | None]
    salt: Mapped[bytes | None]
