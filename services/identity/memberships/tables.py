from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.identity.tables import Table


class Membership(TenantRow, Table):
    """One member's access to one tenant; id is the member's. Made by the first event that wants something of it and
    never deleted: what is gone stays as a tombstone, so that a late event brings nothing back.
    """

    __tablename__ = "memberships"
    __table_args__ = (
        Index("ix_memberships_login_key", "tenant_id", "login_key"),
        Index("ix_memberships_email_key", "tenant_id", "email_key"),
    )

    # What members wants, as of access_version.
    access_version: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int]
    cut: Mapped[int]
    want: Mapped[str]
    way: Mapped[str]
    blocked: Mapped[list[str]] = mapped_column(JSONB)
    locked_until: Mapped[datetime | None]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    login_name: Mapped[str]
    login_key: Mapped[str]
    display_name: Mapped[str]
    email: Mapped[str | None]
    email_key: Mapped[str | None]
    locale: Mapped[str | None]
    preset_roles: Mapped[list[str]] = mapped_column(JSONB)
    preset_groups: Mapped[list[str]] = mapped_column(JSONB)
    preset_rights: Mapped[list[str]] = mapped_column(JSONB)  # of who gave the presets, then
    presets_by: Mapped[UUID | None]
    first_owner: Mapped[bool]

    # What identity made of it.
    state: Mapped[str] = mapped_column(default="none")  # none, active, gone
    generation: Mapped[int] = mapped_column(default=0)  # the newest that was answered
    person_id: Mapped[UUID | None]
    holder: Mapped[int] = mapped_column(default=0)
    held_by: Mapped[str | None]  # the last holder, to tell another one from the same again
    av: Mapped[int] = mapped_column(default=0)
