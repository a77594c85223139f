from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKeyConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Versioned
from services.members.facts import Access, Column, Facts, GuidanceCode, Life, Outside, Standing, may_more
from services.members.tables import Table

NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Instead of NULL, which no keyset can page through."""

_FACTS: Final = Facts.__struct_fields__
_Strings = ARRAY(String)
_Bytewise = String(collation="C")  # prefix ranges and keysets compare bytes


class Member(Versioned, Table):
    """id is the member's everywhere: her membership in identity, `sub` of her token.

    version counts what people edit; facts and what is derived from events leave it alone.
    """

    __tablename__ = "members"
    __table_args__ = (
        UniqueConstraint("tenant_id", "login_key"),
        UniqueConstraint("tenant_id", "email_key"),
        UniqueConstraint("tenant_id", "sso_key"),
        Index("ix_members_by_name", "tenant_id", "column", "name_key", "id"),
        Index("ix_members_by_last_login", "tenant_id", "column", "last_login_at", "id"),
        Index("ix_members_by_created", "tenant_id", "column", "created_at", "id"),
        Index("ix_members_due", "due_at", postgresql_where="due_at IS NOT NULL"),
        Index(
            "ix_members_by_guidance",
            "tenant_id",
            "guidance",
            "name_key",
            "id",
            postgresql_where="guidance IN ('fix_email', 'invite_again', 'wait_for_entry', 'buy_seat')",
        ),
    )

    # Profile. Keys are what is compared; an anonymised member has none, so that others may take the names.
    login_name: Mapped[str]
    login_key: Mapped[str | None]
    display_name: Mapped[str]
    name_key: Mapped[str] = mapped_column(_Bytewise)
    email: Mapped[str | None]
    email_key: Mapped[str | None]
    phone: Mapped[str | None]
    locale: Mapped[str | None]
    profile_version: Mapped[int] = mapped_column(default=0)

    # Facts: design section 2, services/members/facts.py.
    life: Mapped[Life] = mapped_column(String, default="present")
    deleted_until: Mapped[datetime | None]
    access: Mapped[Access] = mapped_column(String, default="none")
    locked: Mapped[bool] = mapped_column(default=False)
    locked_until: Mapped[datetime | None]
    lock_reason: Mapped[str | None]
    deactivated: Mapped[bool] = mapped_column(default=False)
    outside: Mapped[Outside | None] = mapped_column(String)
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    reactivated_at: Mapped[datetime | None]
    login_due_at: Mapped[datetime | None]
    access_version: Mapped[int] = mapped_column(default=0)
    generation: Mapped[int] = mapped_column(default=0)
    epoch: Mapped[int] = mapped_column(default=0)
    cut: Mapped[int] = mapped_column(default=0)

    # The newest invitation and what it presets, given by whoever invited, with the rights he then had.
    way: Mapped[str] = mapped_column(default="mail")
    invited_at: Mapped[datetime | None]
    deadline: Mapped[datetime | None]
    preset_roles: Mapped[list[str]] = mapped_column(_Strings, default=list)
    preset_permission_groups: Mapped[list[str]] = mapped_column(_Strings, default=list)
    preset_groups: Mapped[list[str]] = mapped_column(_Strings, default=list)
    preset_tags: Mapped[list[str]] = mapped_column(_Strings, default=list)
    granted_by: Mapped[UUID | None]
    granted_rights: Mapped[list[str]] = mapped_column(_Strings, default=list)
    first_owner: Mapped[bool] = mapped_column(default=False)
    sso_key: Mapped[str | None]

    # Folded from the answers of identity and notifier.
    roles: Mapped[list[str]] = mapped_column(_Strings, default=list)
    permission_groups: Mapped[list[str]] = mapped_column(_Strings, default=list)
    roles_av: Mapped[int] = mapped_column(default=0)
    holder: Mapped[int] = mapped_column(default=0)
    last_login_at: Mapped[datetime] = mapped_column(default=NEVER)
    mail_state: Mapped[str | None]
    mail_reason: Mapped[str | None]
    mail_at: Mapped[datetime | None]

    # What the facts come to, for the list and the clocks; set by services/members/hold.py alone.
    column: Mapped[Column] = mapped_column(String, default="added")
    guidance: Mapped[GuidanceCode] = mapped_column(String, default="invite")
    guidance_until: Mapped[datetime | None]
    due_at: Mapped[datetime | None]

    @property
    def facts(self) -> Facts:
        return Facts(**{name: getattr(self, name) for name in _FACTS})

    @property
    def is_owner(self) -> bool:
        return "owner" in self.roles

    def standing(self, actor_id: UUID, rights: Collection[str] | None = None) -> Standing:
        """rights: the actor's; None for the system and for operators."""
        return Standing(
            life=self.life,
            access=self.access,
            mailed=self.way == "mail",
            locked=self.locked,
            deactivated=self.deactivated,
            outside=self.outside,
            owner=self.is_owner or self.first_owner,
            has_email=self.email is not None,
            is_self=self.id == actor_id,
            may_more=rights is not None and may_more(self.roles, self.permission_groups, rights),
        )


class MemberToken(Table):
    """A word that the text search finds the member by. contact: from her e-mail or phone, for those who may see it."""

    __tablename__ = "member_tokens"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "member_id"], ["members.tenant_id", "members.id"], ondelete="CASCADE"),
        Index("ix_member_tokens_member_id", "tenant_id", "member_id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(_Bytewise, primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    contact: Mapped[bool] = mapped_column(primary_key=True)
