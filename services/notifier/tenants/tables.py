from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from services.notifier.tables import Table


class Tenant(Table):
    """What a mail says about its tenant, as members last said it."""

    __tablename__ = "tenants"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    slug: Mapped[str]
    display_name: Mapped[str]
    locale: Mapped[str]
    time_zone: Mapped[str]
    state: Mapped[str]
    colour: Mapped[str | None]
    imprint_url: Mapped[str | None]
    privacy_url: Mapped[str | None]
    mail_class: Mapped[str]
