from uuid import UUID

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.notifier.tables import Table


class MailSettings(Table):
    """How a tenant's mails look and who gets which: one row, made by the first change. version is its ETag."""

    __tablename__ = "mail_settings"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    sender_name: Mapped[str | None]
    reply_to: Mapped[str | None]
    colour: Mapped[str | None]
    logo_id: Mapped[UUID | None]
    matrix: Mapped[dict[str, dict[str, str]]] = mapped_column(JSONB, default=dict)

    @property
    def id(self) -> UUID:
        return self.tenant_id


class Logo(TenantRow, Table):
    """A picture that goes inside mails. Never changed: old mails keep theirs."""

    __tablename__ = "logos"

    type: Mapped[str]
    data: Mapped[bytes]
