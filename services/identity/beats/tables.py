from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from services.identity.tables import Table


class Beat(Table):
    """The newest sign that what a service's worker writes does arrive here."""

    __tablename__ = "beats"

    service: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
