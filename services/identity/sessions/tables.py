from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import ForeignKey, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import PLATFORM
from services.identity.tables import Table


class CookieSession(Table):
    """One sign-in of one browser. The cookie's value is a secret of which only the digest stands here."""

    __tablename__ = "sessions"
    tenant_id: ClassVar[UUID] = PLATFORM

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    secret_digest: Mapped[bytes] = mapped_column(unique=True)
    person_id: Mapped[UUID | None] = mapped_column(index=True)  # none: a membership's own credential
    amr: Mapped[list[str]] = mapped_column(JSONB)
    signed_in_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ends_at: Mapped[datetime]  # whatever happens; idle ones end earlier
    must_change: Mapped[bool]  # a password that staff handed over: good for choosing one's own, and nothing else
    agent: Mapped[str]  # what the browser calls itself, so that people recognise it


class SessionMembership(Table):
    """A tenant that a sign-in has opened. Worth nothing once the membership's epoch or cut has moved on."""

    __tablename__ = "session_memberships"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(index=True)
    epoch: Mapped[int]
    cut: Mapped[int]
    opened_at: Mapped[datetime] = mapped_column(server_default=func.now())
