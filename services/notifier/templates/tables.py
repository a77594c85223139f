from datetime import datetime
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from libs.common.db import Versioned
from services.notifier.tables import Table


class TemplateVersion(Versioned, Table):
    """A tenant's text of one kind of mail in one language. A draft can be edited; once published it never changes."""

    __tablename__ = "template_versions"
    __table_args__ = (UniqueConstraint("tenant_id", "template", "locale", "number"),)

    template: Mapped[str]
    locale: Mapped[str]
    number: Mapped[int]
    state: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    action_label: Mapped[str]
    created_by: Mapped[UUID]
    published_at: Mapped[datetime | None]
    published_by: Mapped[UUID | None]
