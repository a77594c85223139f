from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from services.identity.tables import Table


class Attempts(Table):
    """How often something was tried of late, by the digest of what it was tried on: no name, no address."""

    __tablename__ = "attempts"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    count: Mapped[int]
    last_at: Mapped[datetime]
    wait_until: Mapped[datetime]


class KnownDevice(Table):
    """The digest of an account and a browser's cookie: somebody has signed in there before."""

    __tablename__ = "known_devices"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    last_at: Mapped[datetime]
