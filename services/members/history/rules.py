"""Reading a member's history; what the reader may not see of a profile is not told here either."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import Audit
from libs.common.permissions import Permission
from libs.common.tokens import Actor
from services.members.people.rules import get_member

_CONTACT: Final = frozenset({"email", "phone"})


async def list_history(session: AsyncSession, member_id: UUID, *, after: UUID | None, limit: int) -> Sequence[Audit]:
    """Newest first. Raises NotFound."""
    await get_member(session, member_id)
    query = select(Audit).where(Audit.row_id == member_id).order_by(Audit.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Audit.id < after)
    return (await session.scalars(query)).all()


def told(details: Mapping[str, Any] | None, actor: Actor) -> dict[str, Any]:
    """The details, without e-mail and phone for those who may not see them."""
    details = dict(details or {})
    if Permission.MEMBERS_CONTACT not in actor.rights and isinstance(details.get("edited"), dict):
        details["edited"] = {
            name: "hidden" if name in _CONTACT else change for name, change in details["edited"].items()
        }
    return details
