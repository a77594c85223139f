"""Grants that follow the provider's groups (R-15): each is tagged with its connection, and a sync touches only its own.

A claim that is missing changes nothing; one that is there and empty takes what this connection gave.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.identity import RolesChanged
from services.identity.connections.mapping import Mapped
from services.identity.connections.tables import Connection
from services.identity.memberships import rules as memberships
from services.identity.memberships.tables import Membership
from services.identity.roles import grants
from services.identity.roles.tables import Grant

SOURCE = "sso"


async def sync_grants(session: AsyncSession, connection: Connection, membership: Membership, mapped: Mapped) -> None:
    """The membership is locked and active."""
    if mapped.roles is None or mapped.permission_groups is None:
        return
    wanted = {(grants.ROLE, name) for name in mapped.roles} | {
        (grants.PERMISSION_GROUP, name) for name in mapped.permission_groups
    }
    query = select(Grant).where(Grant.member_id == membership.id, *_of(connection))
    held = (await session.scalars(query)).all()
    had = {(one.kind, one.name) for one in held}
    if had == wanted:
        return
    for one in held:
        if (one.kind, one.name) not in wanted:
            await session.delete(one)
    for kind, name in sorted(wanted - had):
        grant = Grant(tenant_id=membership.tenant_id, member_id=membership.id, kind=kind, name=name, source=SOURCE)
        grant.connection_id, grant.granted_by = connection.id, connection.mapped_by
        session.add(grant)
    await session.flush()
    await _tell(session, membership, groups=mapped.groups, connection_id=connection.id)


async def take_grants_of(session: AsyncSession, connection: Connection) -> None:
    """The connection goes, and what it gave goes with it."""
    held = (await session.scalars(select(Grant).where(*_of(connection)).order_by(Grant.member_id))).all()
    for member_id in dict.fromkeys(one.member_id for one in held):
        membership = await memberships.find_locked(session, member_id)
        for one in _hers(held, membership):
            await session.delete(one)
        await session.flush()
        if membership is not None:
            await _tell(session, membership, connection_id=connection.id)


def _hers(held: Sequence[Grant], membership: Membership | None) -> list[Grant]:
    return [one for one in held if membership is not None and one.member_id == membership.id]


async def _tell(session: AsyncSession, membership: Membership, **details: object) -> None:
    names = await grants.names_of(session, membership.id)
    event = RolesChanged(membership.id, membership.epoch, names.roles, names.permission_groups)
    await memberships.tell(session, memberships.herself(membership), membership, event, source=SOURCE, **details)


def _of(connection: Connection) -> tuple[ColumnElement[bool], ...]:
    return (Grant.source == SOURCE, Grant.connection_id == connection.id)
