"""Words for stories about access: what identity and notifier answer, what members tells them."""

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from libs.common.changes import Outbox
from libs.common.db import Database, now
from libs.common.events import identity, notifier
from tests.members.conftest import MEMBERS, ok

SEATS = "/members/v1/seats"


async def wanted(database: Database, tenant: uuid.UUID, member: dict[str, Any]) -> list[dict[str, Any]]:
    """All that identity was told about a member, in order."""
    async with database.session(tenant) as session:
        query = select(Outbox).where(Outbox.row_id == uuid.UUID(member["id"])).order_by(Outbox.sequence)
        rows = (await session.scalars(query)).all()
    return [row.data for row in rows if row.type == "members.member.access.v1"]


async def facts_of(client: Any, member: dict[str, Any]) -> list[str]:
    entries = (await ok(client.get(f"{MEMBERS}/{member['id']}/history")))["items"]
    return [entry["fact"] for entry in reversed(entries)]


def ended(member: dict[str, Any], reason: Any, *, epoch: int = 0) -> identity.InvitationEnded:
    id = uuid.UUID(member["id"])
    generation = member["invitation"]["generation"]
    return identity.InvitationEnded(invitation_id=id, member_id=id, epoch=epoch, generation=generation, reason=reason)


def roles_of(member: dict[str, Any], *roles: str) -> identity.RolesChanged:
    id = uuid.UUID(member["id"])
    return identity.RolesChanged(member_id=id, epoch=0, roles=list(roles), permission_groups=[])


def renewal(member: dict[str, Any]) -> identity.RenewalAsked:
    return identity.RenewalAsked(
        member_id=uuid.UUID(member["id"]), epoch=0, generation=member["invitation"]["generation"]
    )


def mail(member: dict[str, Any], state: Any, *, generation: int = 1, seconds: int = 0) -> notifier.MessageChanged:
    return notifier.MessageChanged(
        message_id=uuid.uuid4(),
        member_id=uuid.UUID(member["id"]),
        template="invitation",
        state=state,
        epoch=0,
        generation=generation,
        reason="550 no such user" if state == "bounced" else None,
        at=now() + timedelta(seconds=seconds),
    )


async def fill_limit(database: Database, tenant: uuid.UUID) -> None:
    """As if 200 people had been invited today."""
    from services.members.access.tables import InvitedAddress
    from services.members.tenants.tables import Tenant

    async with database.session(tenant) as session:
        (await session.scalars(select(Tenant))).one().mail_class = "new"
        there = len((await session.scalars(select(InvitedAddress))).all())
        for _ in range(200 - there):
            session.add(InvitedAddress(tenant_id=tenant, digest=uuid.uuid4().bytes, invited_at=now()))
