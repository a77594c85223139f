from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.identity.tables import Table


class Tenant(TenantRow, Table):
    """What members says of a tenant; id is tenant_id. Its row is the lock under which owners are counted (R-09)."""

    __tablename__ = "tenants"

    version: Mapped[int]  # of the newest event that was applied
    slug: Mapped[str]
    display_name: Mapped[str]
    locale: Mapped[str]
    time_zone: Mapped[str]
    state: Mapped[str]
    colour: Mapped[str | None]
    imprint_url: Mapped[str | None]
    privacy_url: Mapped[str | None]
    first_owner_id: Mapped[UUID | None]
    """The member whom an operator made owner: once in a tenant's life."""


class TenantRoute(Table):
    __tablename__ = "tenant_routes"

    slug: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
