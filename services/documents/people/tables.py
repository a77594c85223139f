from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import TenantRow
from services.documents.tables import Table


class Member(TenantRow, Table):
    """A member as events told it. Erased ones stay as tombstones, so that a late event brings nothing back."""

    __tablename__ = "members"

    life: Mapped[str] = mapped_column(default="present")
    profile_version: Mapped[int] = mapped_column(
        BigInteger, default=0
    )  # the newest members.member.saved.v1 that was applied
    access_version: Mapped[int] = mapped_column(BigInteger, default=0)  # the same of members.member.access.v1
    wanted: Mapped[bool] = mapped_column(default=True)  # false: she shall have no access, or is deactivated
    av: Mapped[int] = mapped_column(BigInteger, default=0)  # the newest identity.membership.*
    active: Mapped[bool] = mapped_column(default=False)
    holder: Mapped[int] = mapped_column(default=0)  # 0 before the first acceptance


class GroupMember(Table):
    """Who is in which group, for documents that were opened to one."""

    __tablename__ = "group_members"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    group_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    inside: Mapped[bool]
