from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import PLATFORM
from services.identity.tables import Table


class Operator(Table):
    """Who runs the installation: no person, no member, no rights in any tenant. A time-based code always."""

    __tablename__ = "operators"
    tenant_id: ClassVar[UUID] = PLATFORM

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    address: Mapped[str]
    address_key: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    must_change: Mapped[bool] = mapped_column(default=True)
    totp_secret: Mapped[bytes]  # sealed
    totp_step: Mapped[int] = mapped_column(BigInteger, default=0)  # the last that was used


class OperatorSession(Table):
    __tablename__ = "operator_sessions"
    tenant_id: ClassVar[UUID] = PLATFORM

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7())
    secret_digest: Mapped[bytes] = mapped_column(unique=True)
    operator_id: Mapped[UUID] = mapped_column(ForeignKey("operators.id", ondelete="CASCADE"), index=True)
    signed_in_at: Mapped[datetime]
    ends_at: Mapped[datetime]
