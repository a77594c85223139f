from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import PLATFORM
from services.identity.tables import Table


class Person(Table):
    """A human with a verified address, known to the whole installation, who owns her password. No tenant sees her."""

    __tablename__ = "persons"
    tenant_id: ClassVar[UUID] = PLATFORM  # whose audit and events speak of her

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    display_name: Mapped[str]
    locale: Mapped[str]
    password_hash: Mapped[str | None]
    reset_generation: Mapped[int] = mapped_column(default=0)


class PersonAddress(Table):
    """An address that its person has proven, by a link that was mailed there."""

    __tablename__ = "person_addresses"

    address_key: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str]
    person_id: Mapped[UUID] = mapped_column(index=True)
    verified_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PersonMembership(Table):
    """Which tenants a person may choose from. The membership itself, in its tenant, decides."""

    __tablename__ = "person_memberships"

    person_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
