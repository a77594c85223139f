"""A tenant's connections to identity providers of its own: made, changed, mapped, asked for keys, removed.

Whatever is asked of a provider is asked outside a transaction. A mapping keeps the rights of who confirmed it, and
gives nobody more than these (`may_grant`), and never owner.
"""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import Conflict, Forbidden, NotFound, Outdated, Unprocessable
from libs.common.permissions import Role, may_grant
from libs.common.tokens import Actor
from services.identity.connections import discovery
from services.identity.connections.discovery import KEYS_LAST, KEYS_NOT_SOONER, Provider, provider_of
from services.identity.connections.mapping import Mapped, map_claims
from services.identity.connections.problems import ProviderUnfit
from services.identity.connections.schemas import ConnectionChanges, ConnectionIn, Mapping, PreviewIn
from services.identity.connections.syncing import take_grants_of
from services.identity.connections.tables import Connection, ConnectionAttempt, ConnectionSession, ConnectionSubject
from services.identity.doors import Doors
from services.identity.memberships.tables import Membership
from services.identity.sessions.closing import end_session
from services.identity.sessions.tables import CookieSession
from services.identity.tenants.rules import get_tenant

MOST = 20
"""Connections of one tenant."""


class TooManyConnections(Unprocessable):
    title = "There are as many connections as a tenant may have"


class NotDiscovered(Conflict):
    title = "The provider has not been reached yet: ask it for its addresses first"


class OwnerNotMapped(Unprocessable):
    title = "Nobody becomes owner by a group of a provider: owners are made by hand"


class MappingNotAllowed(Forbidden):
    """With roles and permission_groups."""

    title = "A mapping gives no role and no right that you may not give by hand"


async def create_connection(doors: Doors, session: AsyncSession, actor: Actor, data: ConnectionIn) -> Connection:
    """A draft, whose provider is asked next (refresh_connection). Raises TooManyConnections."""
    tenant_id = cast(UUID, actor.tenant_id)
    await get_tenant(session, tenant_id)
    if len(await list_connections(session)) >= MOST:
        raise TooManyConnections(most=MOST)
    connection = Connection(
        tenant_id=tenant_id,
        name=data.name,
        state="draft",
        issuer=discovery.issuer_of(data.issuer),
        client_id=data.client_id,
        client_secret=b"",
        scopes=_with_openid(data.scopes),
        admission=data.admission,
        mapping=msgspec.to_builtins(Mapping()),
        mapping_rights=[],
        version=1,
    )
    session.add(connection)
    await session.flush()
    _seal(doors, connection, data.client_secret)
    await session.flush()
    note(session, actor, connection, "identity.connection.created", name=data.name, issuer=data.issuer)
    return connection


async def refresh_connection(doors: Doors, tenant_id: UUID, connection_id: UUID, actor: Actor) -> Connection:
    """Ask the provider for its addresses and keys, anew. Raises NotFound, ProviderUnfit; then nothing is changed."""
    async with doors.database.session(tenant_id) as session:
        issuer = (await get_connection(session, connection_id)).issuer
    provider = await discovery.discover(doors.outgoing, issuer)
    keys = await discovery.fetch_keys(doors.outgoing, provider)
    async with doors.database.session(tenant_id) as session:
        connection = await lock_connection(session, connection_id)
        connection.provider, connection.discovered_at = msgspec.to_builtins(provider), now()
        connection.keys, connection.keys_at = keys, now()
        note(session, actor, connection, "identity.connection.discovered", issuer=issuer)
        return connection


async def refresh_keys(doors: Doors, connection: Connection, *, wanted: bool) -> Connection:
    """Newer keys where they are old, or wanted for a token that names an unknown one. A provider that cannot be asked
    leaves the old ones in force: signing in goes on (keys it has withdrawn go once it answers again).
    """
    age = now() - connection.keys_at if connection.keys_at else KEYS_LAST
    if age < (KEYS_NOT_SOONER if wanted else KEYS_LAST):
        return connection
    try:
        keys = await discovery.fetch_keys(doors.outgoing, provider_of(connection.provider or {}))
    except ProviderUnfit:
        return connection
    async with doors.database.session(connection.tenant_id) as session:
        fresh = await lock_connection(session, connection.id)
        fresh.keys, fresh.keys_at = keys, now()
        return fresh


async def list_connections(session: AsyncSession) -> list[Connection]:
    """Of the session's tenant, oldest first."""
    return list((await session.scalars(select(Connection).order_by(Connection.id).limit(MOST))).all())


async def list_buttons(session: AsyncSession) -> list[Connection]:
    """Those by which one may sign in now."""
    return [one for one in await list_connections(session) if one.state == "enabled"]


def ways_to_accept(connections: Sequence[Connection], membership: Membership) -> list[Connection]:
    """Those of them by which the membership's open invitation may be accepted (design section 3.6): none where it makes
    an owner, which its link alone does.
    """
    if Role.OWNER in membership.preset_roles:
        return []
    return [one for one in connections if one.admission != "off"]


async def get_connection(session: AsyncSession, connection_id: UUID) -> Connection:
    """Raises NotFound."""
    connection = await session.get(Connection, (session.info["tenant_id"], connection_id))
    if connection is None:
        raise NotFound
    return connection


async def lock_connection(session: AsyncSession, connection_id: UUID, version: int | None = None) -> Connection:
    """Raises NotFound, or Outdated where another version was read."""
    query = select(Connection).where(Connection.id == connection_id).with_for_update()
    connection = await session.scalar(query.execution_options(populate_existing=True))
    if connection is None:
        raise NotFound
    if version is not None and connection.version != version:
        raise Outdated(version=connection.version)
    return connection


async def change_connection(
    doors: Doors, session: AsyncSession, actor: Actor, connection_id: UUID, changes: ConnectionChanges, version: int
) -> Connection:
    """Raises NotFound, Outdated, NotDiscovered."""
    connection = await lock_connection(session, connection_id, version)
    given = {
        name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not msgspec.UNSET
    }
    if given.get("state") == "enabled" and connection.provider is None:
        raise NotDiscovered
    secret = given.pop("client_secret", None)
    for name, value in given.items():
        setattr(connection, name, _with_openid(value) if name == "scopes" else value)
    if secret is not None:
        _seal(doors, connection, secret)
    if connection.state == "disabled":
        await end_sessions(session, connection.id)
    connection.version += 1
    await session.flush()
    told = given | ({"client_secret": "replaced"} if secret is not None else {})
    note(session, actor, connection, "identity.connection.changed", **told)
    return connection


async def set_mapping(
    session: AsyncSession, actor: Actor, connection_id: UUID, mapping: Mapping, version: int
) -> Connection:
    """From the next sign-in on. Raises NotFound, Outdated, OwnerNotMapped, MappingNotAllowed."""
    connection = await lock_connection(session, connection_id, version)
    require_mappable(actor, mapping)
    before = connection.mapping
    connection.mapping = msgspec.to_builtins(mapping)
    connection.mapped_by, connection.mapping_rights = actor.id, sorted(actor.rights)
    connection.version += 1
    await session.flush()
    note(session, actor, connection, "identity.connection.mapped", mapping=connection.mapping, before=before)
    return connection


def require_mappable(actor: Actor, mapping: Mapping) -> None:
    roles = {role for one in mapping.groups for role in one.roles}
    groups = {group for one in mapping.groups for group in one.permission_groups}
    if Role.OWNER in roles:
        raise OwnerNotMapped
    if not may_grant(actor.rights, roles, groups):
        raise MappingNotAllowed(roles=sorted(roles), permission_groups=sorted(groups))


def preview(connection: Connection, actor: Actor, data: PreviewIn) -> Mapped:
    """What the claims would come to. Changes nothing. Raises like set_mapping for a mapping that could not be saved."""
    if data.mapping is None:
        return map_claims(data.claims, mapping_of(connection), connection.mapping_rights)
    require_mappable(actor, data.mapping)
    return map_claims(data.claims, data.mapping, actor.rights)


async def delete_connection(session: AsyncSession, actor: Actor, connection_id: UUID, version: int) -> None:
    """Who came by it alone is signed out, and her grants of it go; memberships stay. Raises NotFound, Outdated."""
    connection = await lock_connection(session, connection_id, version)
    await end_sessions(session, connection.id)
    await take_grants_of(session, connection)
    note(session, actor, connection, "identity.connection.deleted", name=connection.name, issuer=connection.issuer)
    await session.flush()
    await session.execute(delete(Connection).where(Connection.id == connection.id))


async def end_sessions(session: AsyncSession, connection_id: UUID) -> None:
    mine = select(ConnectionSession.id).where(ConnectionSession.connection_id == connection_id)
    for one in (await session.scalars(select(CookieSession).where(CookieSession.id.in_(mine)))).all():
        await end_session(session, one)


async def list_attempts(session: AsyncSession, connection_id: UUID) -> list[ConnectionAttempt]:
    """Raises NotFound."""
    await get_connection(session, connection_id)
    query = select(ConnectionAttempt).where(ConnectionAttempt.connection_id == connection_id)
    return list((await session.scalars(query.order_by(ConnectionAttempt.id.desc()).limit(20))).all())


async def list_subjects(
    session: AsyncSession, connection_id: UUID, *, subject: str | None, after: UUID | None, limit: int
) -> list[ConnectionSubject]:
    """Newest first (C-16: by the provider's id of somebody). Raises NotFound."""
    await get_connection(session, connection_id)
    query = select(ConnectionSubject).where(ConnectionSubject.connection_id == connection_id)
    if subject is not None:
        query = query.where(ConnectionSubject.subject == subject)
    if after is not None:
        query = query.where(ConnectionSubject.id < after)
    return list((await session.scalars(query.order_by(ConnectionSubject.id.desc()).limit(limit))).all())


def mapping_of(connection: Connection) -> Mapping:
    return msgspec.convert(connection.mapping, Mapping)


def secret_of(doors: Doors, connection: Connection) -> str:
    """Raises KeyProblem."""
    return doors.secrets.open(connection.client_secret, _place(connection)).decode()


def redirect_uri(doors: Doors, slug: str, connection_id: UUID) -> str:
    """One per connection, so that no provider's answer is taken for another's (RFC 9700 section 4.4.2)."""
    return f"{doors.settings.public_url}/t/{slug}/connections/{connection_id}/callback"


def logout_uri(doors: Doors, slug: str) -> str:
    """Where the provider sends her after it has signed her out."""
    return f"{doors.settings.public_url}/t/{slug}"


def backchannel_uri(doors: Doors, slug: str, connection_id: UUID) -> str:
    return f"{doors.settings.public_url}/t/{slug}/connections/{connection_id}/backchannel-logout"


def found_provider(connection: Connection) -> Provider:
    """Raises NotDiscovered."""
    if connection.provider is None:
        raise NotDiscovered
    return provider_of(connection.provider)


def _seal(doors: Doors, connection: Connection, secret: str) -> None:
    connection.client_secret = doors.secrets.seal(secret.encode(), _place(connection))


def _place(connection: Connection) -> str:
    return f"{connection.tenant_id}/connections/{connection.id}"


def _with_openid(scopes: list[str]) -> list[str]:
    return list(dict.fromkeys(["openid", *scopes]))
