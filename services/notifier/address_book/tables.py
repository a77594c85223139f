from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from services.notifier.tables import Table


class Entry(Table):
    """A member as far as mail goes. Three streams fill it in any order, each with a counter of its own.

    An erased member's row stays, empty: late events must not bring her back.
    """

    __tablename__ = "address_book"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    profile_version: Mapped[int] = mapped_column(BigInteger, default=0)
    access_version: Mapped[int] = mapped_column(BigInteger, default=0)
    av: Mapped[int] = mapped_column(BigInteger, default=0)

    display_name: Mapped[str] = mapped_column(default="")
    email: Mapped[str | None]
    email_canonical: Mapped[str | None]
    locale: Mapped[str | None]
    life: Mapped[str] = mapped_column(default="present")

    access: Mapped[str] = mapped_column(default="none")
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    holder: Mapped[int] = mapped_column(BigInteger, default=0)
    blocked: Mapped[list[str]] = mapped_column(ARRAY(TEXT), default=list)
    locked_until: Mapped[datetime | None]


class Invitation(Table):
    """The newest generation heard of, and the newest that has ended: a link of neither is worth a mail."""

    __tablename__ = "invitations"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    ended_generation: Mapped[int] = mapped_column(BigInteger, default=0)
    ended_reason: Mapped[str | None]
