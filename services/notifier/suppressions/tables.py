from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped

from libs.common.db import TenantRow
from services.notifier.tables import Table


class Suppression(TenantRow, Table):
    """An address that this tenant's mail does not go to. Lifted rows stay as the history of the list.

    due_at: when the worker looks at it again: whether its bounce was one of a storm, later whether it has expired.
    """

    __tablename__ = "suppressions"

    email: Mapped[str]
    email_canonical: Mapped[str]
    domain_digest: Mapped[bytes]
    reason: Mapped[str]
    detail: Mapped[str]
    message_id: Mapped[UUID | None]
    due_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]
