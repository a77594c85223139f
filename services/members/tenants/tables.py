from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Versioned
from services.members.tables import Table


class Tenant(Versioned, Table):
    """id is tenant_id. version counts what people edit, operators included; the seats do not raise it."""

    __tablename__ = "tenants"

    slug: Mapped[str]
    name: Mapped[str]
    locale: Mapped[str]
    time_zone: Mapped[str]
    colour: Mapped[str | None]
    imprint_url: Mapped[str | None]
    privacy_url: Mapped[str | None]
    invitation_hours: Mapped[int] = mapped_column(default=28 * 24)
    invite_on_create: Mapped[bool] = mapped_column(default=False)
    email_required: Mapped[bool] = mapped_column(default=False)
    renewal_allowed: Mapped[bool] = mapped_column(default=True)
    local_access: Mapped[bool] = mapped_column(default=True)
    reactivation_hours: Mapped[int] = mapped_column(default=24)
    retention_days: Mapped[int] = mapped_column(default=30)

    state: Mapped[str] = mapped_column(default="open")
    mail_class: Mapped[str] = mapped_column(default="new")
    seat_limit: Mapped[int]
    seats_used: Mapped[int] = mapped_column(default=0)
    seats_reserved: Mapped[int] = mapped_column(default=0)

    @property
    def seats_free(self) -> int:
        """Never below nothing: a lowered limit evicts nobody."""
        return max(0, self.seat_limit - self.seats_used - self.seats_reserved)

    @property
    def invitation_lasts(self) -> timedelta:
        return timedelta(hours=self.invitation_hours)


class TenantRoute(Table):
    """A slug leads to one tenant of the whole installation."""

    __tablename__ = "tenant_routes"

    slug: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
