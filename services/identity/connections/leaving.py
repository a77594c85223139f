"""Signing out at the provider (RP-Initiated Logout 1.0), and being signed out by it (Back-Channel Logout 1.0)."""

import contextlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import PLATFORM
from libs.common.keys import KeyProblem
from libs.common.tokens import Actor
from services.identity.connections.discovery import provider_of
from services.identity.connections.entering import id_token_place
from services.identity.connections.exchange import with_keys
from services.identity.connections.id_tokens import TOLERANCE, Claims, Pinned, check_logout_token
from services.identity.connections.rules import get_connection, logout_uri
from services.identity.connections.tables import Connection, ConnectionSession
from services.identity.doors import Doors
from services.identity.sessions.closing import end_session
from services.identity.sessions.rules import find_session
from services.identity.sessions.tables import CookieSession
from services.identity.tenants.tables import Tenant


class WayOut(msgspec.Struct, frozen=True):
    """url: where she signs out at the provider, too."""

    provider: str
    url: str


async def way_out(doors: Doors, tenant: Tenant, secret: str | None) -> WayOut | None:
    """Asked before the session ends. None where
    no provider signed her in, or it has no such address.
    """
    async with doors.database.session(PLATFORM) as session:
        one = await find_session(session, doors.settings, secret)
    if one is None or one.person_id is not None:
        return None
    async with doors.database.session(tenant.id) as session:
        came = await session.get(ConnectionSession, {"tenant_id": tenant.id, "id": one.id})
        if came is None:
            return None
        connection = await get_connection(session, came.connection_id)
    end = provider_of(connection.provider).end_session_endpoint if connection.provider else None
    if end is None:
        return None
    asked = {"client_id": connection.client_id, "post_logout_redirect_uri": logout_uri(doors, tenant.slug)}
    with contextlib.suppress(KeyProblem):  # without the hint the provider asks her whether she means it
        asked["id_token_hint"] = doors.secrets.open(came.id_token, id_token_place(one.id)).decode()
    return WayOut(connection.name, f"{end}{'&' if '?' in end else '?'}{urlencode(asked)}")


async def end_by_provider(doors: Doors, tenant_id: UUID, connection_id: UUID, token: str) -> int:
    """How many sessions ended. Raises NotFound, NotDiscovered, AnswerNotValid.

    Only sessions that began before the token was made: one that is sent again ends nothing that came later.
    """
    async with doors.database.session(tenant_id) as session:
        connection = await get_connection(session, connection_id)

    def check(pinned: Pinned) -> Claims:
        return check_logout_token(token, pinned)

    claims = await with_keys(doors, connection, check)
    async with doors.database.session(tenant_id) as session:
        return await _end(session, connection, claims)


async def _end(session: AsyncSession, connection: Connection, claims: Claims) -> int:
    named = [ConnectionSession.connection_id == connection.id]
    if claims.get("sid"):
        named.append(ConnectionSession.provider_session == claims["sid"])
    if claims.get("sub"):
        named.append(ConnectionSession.subject == claims["sub"])
    until = datetime.fromtimestamp(claims["iat"], UTC) + timedelta(seconds=TOLERANCE)
    mine = select(ConnectionSession.id).where(*named)
    query = select(CookieSession).where(CookieSession.id.in_(mine), CookieSession.signed_in_at <= until)
    found = (await session.scalars(query)).all()
    for one in found:
        await end_session(session, one)
    system = Actor.system(connection.tenant_id)
    note(session, system, connection, "identity.connection.signed_out", sessions=len(found))
    return len(found)
