"""Why somebody may do what she may (R-15): every grant with its source, every right with the grants that give it."""

from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.permissions import Group, Role, rights_of
from services.identity.local_credentials.tables import LocalCredential
from services.identity.memberships.rules import get_membership
from services.identity.memberships.standing import bar_to_sign_in
from services.identity.memberships.tables import Membership
from services.identity.roles import grants
from services.identity.roles.tables import Grant


class Explained(msgspec.Struct, frozen=True):
    """credential: person or local; which person stays hers."""

    membership: Membership
    barred_by: str | None
    credential: str | None
    grants: list[Grant]
    rights: dict[str, list[str]]


async def explain_access(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> Explained:
    """Raises NotFound."""
    membership = await get_membership(session, tenant_id, member_id)
    held = await grants.of_member(session, member_id)
    owner = await grants.is_owner(session, member_id)
    local = await session.get(LocalCredential, (tenant_id, member_id)) is not None
    credential = "person" if membership.person_id else "local" if local else None
    rights: dict[str, list[str]] = {}
    for grant in held:
        for right in sorted(_rights(grant)):
            rights.setdefault(right, []).append(f"{grant.name} ({grant.source})")
    return Explained(membership, bar_to_sign_in(membership, now(), owner=owner), credential, held, rights)


def _rights(grant: Grant) -> frozenset[str]:
    if grant.kind == grants.ROLE:
        return rights_of([Role(grant.name)], [])
    return rights_of([], [Group(grant.name)])
