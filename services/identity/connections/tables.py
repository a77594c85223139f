from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow, Versioned
from services.identity.tables import Table


class Connection(Versioned, Table):
    """A tenant's own identity provider, as its admins set it up. version counts what they edit."""

    __tablename__ = "connections"

    name: Mapped[str]  # on the button
    state: Mapped[str]  # draft, enabled, disabled
    issuer: Mapped[str]
    client_id: Mapped[str]
    client_secret: Mapped[bytes]  # sealed
    scopes: Mapped[list[str]] = mapped_column(JSONB)
    admission: Mapped[str]  # off, invited, automatic

    # What the provider says of itself, as of discovered_at; nothing else is asked at a sign-in.
    provider: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    discovered_at: Mapped[datetime | None]
    keys: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    keys_at: Mapped[datetime | None]

    # What its claims mean here, and the rights of who confirmed that.
    mapping: Mapped[dict[str, Any]] = mapped_column(JSONB)
    mapped_by: Mapped[UUID | None]
    mapping_rights: Mapped[list[str]] = mapped_column(JSONB)


class ConnectionSubject(TenantRow, Table):
    """Whom a subject of a connection is here: a membership, as long as the same human holds it; never a person."""

    __tablename__ = "connection_subjects"
    __table_args__ = (
        UniqueConstraint("tenant_id", "connection_id", "subject"),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["tenant_id", "member_id"], ["memberships.tenant_id", "memberships.id"]),
        Index("ix_connection_subjects_member_id", "tenant_id", "member_id"),
    )

    connection_id: Mapped[UUID]
    subject: Mapped[str]
    member_id: Mapped[UUID]
    holder: Mapped[int]  # of the membership, when it was bound
    seen_at: Mapped[datetime | None]


class ConnectionAttempt(TenantRow, Table):
    """One way to a provider and back: used once, by the browser that began it. No secret stands here: nonce and
    verifier are derived from the browser's cookie. Kept for a day, so that admins see what went wrong.
    """

    __tablename__ = "connection_attempts"
    __table_args__ = (
        UniqueConstraint("tenant_id", "state_digest"),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"], ondelete="CASCADE"
        ),
        Index("ix_connection_attempts_connection_id", "tenant_id", "connection_id", "created_at"),
    )

    connection_id: Mapped[UUID]
    state_digest: Mapped[bytes]
    browser_digest: Mapped[bytes]
    purpose: Mapped[str]  # sign_in, test, connect
    member_id: Mapped[UUID | None]  # who tests, or connects
    deadline: Mapped[datetime]
    used_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # done, or the code of what went wrong
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB)  # of a test: the claims and what they come to


class ConnectionSession(TenantRow, Table):
    """How a session began that a provider vouched for; id is the session's. For signing out there, and from there."""

    __tablename__ = "connection_sessions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"], ondelete="CASCADE"
        ),
        Index("ix_connection_sessions_id", "id"),
        Index("ix_connection_sessions_subject", "tenant_id", "connection_id", "subject"),
    )

    id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    connection_id: Mapped[UUID]
    subject: Mapped[str]
    provider_session: Mapped[str | None]  # the provider's `sid`
    id_token: Mapped[bytes]  # sealed; the hint with which the provider signs her out
