from typing import Annotated, cast
from uuid import UUID

import msgspec
from litestar import Response, Router, delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import NotFound, Outdated, VersionRequired
from libs.common.etags import IfMatch, etag, version_read
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from services.identity import web
from services.identity.connections import rules
from services.identity.connections.discovery import provider_of
from services.identity.connections.mapping import Mapped
from services.identity.connections.problems import ProviderUnfit
from services.identity.connections.rules import MappingNotAllowed, NotDiscovered, OwnerNotMapped, TooManyConnections
from services.identity.connections.schemas import (
    AttemptOut,
    AttemptsOut,
    ConnectionChanges,
    ConnectionIn,
    ConnectionOut,
    ConnectionsOut,
    Mapping,
    PreviewIn,
    PreviewOut,
    ProviderOut,
    SubjectOut,
)
from services.identity.connections.tables import Connection, ConnectionAttempt, ConnectionSubject
from services.identity.doors import Doors
from services.identity.tenants.rules import get_tenant
from services.identity.web import TheDoors

READ, WRITE = Permission.CONNECTIONS_READ, Permission.CONNECTIONS_WRITE
_SUBJECTS = "connection_subjects"

Limit = Annotated[int, QueryParameter(ge=1, le=200)]
Subject = Annotated[str, QueryParameter(min_length=1, max_length=255)]


@get("/", permission=READ, summary="The tenant's connections to identity providers", responses=problems(NotFound))
async def list_connections(session: Session, actor: CurrentActor, doors: TheDoors) -> ConnectionsOut:
    slug = (await get_tenant(session, cast(UUID, actor.tenant_id))).slug
    return ConnectionsOut([_out(doors, slug, one) for one in await rules.list_connections(session)])


@post(
    "/",
    permission=WRITE,
    summary="Connect a provider, as a draft; discover next, then enable",
    responses=problems(TooManyConnections, NotFound),
)
async def create_connection(
    session: Session, actor: CurrentActor, doors: TheDoors, once: OnceOnly, data: JSONBody[ConnectionIn]
) -> Response[ConnectionOut]:
    connection = await rules.create_connection(doors, session, actor, data)
    slug = (await get_tenant(session, connection.tenant_id)).slug
    return await once.answer(_out(doors, slug, connection), 201, headers=etag(connection.version))


@get("/{connection_id:uuid}", permission=READ, summary="A connection", responses=problems(NotFound))
async def read_connection(
    session: Session, actor: CurrentActor, doors: TheDoors, connection_id: FromPath[UUID]
) -> Response[ConnectionOut]:
    return await _answer(session, doors, await rules.get_connection(session, connection_id))


@patch(
    "/{connection_id:uuid}",
    permission=WRITE,
    summary="Change, enable or disable a connection; disabled, it signs everybody out who came by it",
    responses=problems(NotFound, NotDiscovered, Outdated, VersionRequired),
)
async def change_connection(
    session: Session,
    actor: CurrentActor,
    doors: TheDoors,
    connection_id: FromPath[UUID],
    data: JSONBody[ConnectionChanges],
    if_match: IfMatch = None,
) -> Response[ConnectionOut]:
    version = version_read(if_match)
    connection = await rules.change_connection(doors, session, actor, connection_id, data, version)
    return await _answer(session, doors, connection)


@delete(
    "/{connection_id:uuid}",
    permission=WRITE,
    summary="Remove a connection, and the roles that it gave",
    responses=problems(NotFound, Outdated, VersionRequired),
)
async def delete_connection(
    session: Session, actor: CurrentActor, connection_id: FromPath[UUID], if_match: IfMatch = None
) -> None:
    await rules.delete_connection(session, actor, connection_id, version_read(if_match))


@post(
    "/{connection_id:uuid}/discover",
    permission=WRITE,
    status_code=200,
    summary="Ask the provider for its addresses and keys, anew",
    responses=problems(NotFound, ProviderUnfit),
)
async def discover(actor: CurrentActor, doors: TheDoors, connection_id: FromPath[UUID]) -> Response[ConnectionOut]:
    """Opens its own transactions, so that none is open while the provider is asked."""
    tenant_id = cast(UUID, actor.tenant_id)
    connection = await rules.refresh_connection(doors, tenant_id, connection_id, actor)
    async with doors.database.session(tenant_id) as session:
        return await _answer(session, doors, connection)


@put(
    "/{connection_id:uuid}/mapping",
    permission=WRITE,
    summary="Say what the provider's claims mean here, and which groups give which roles",
    responses=problems(NotFound, OwnerNotMapped, MappingNotAllowed, Outdated, VersionRequired),
)
async def set_mapping(
    session: Session,
    actor: CurrentActor,
    doors: TheDoors,
    connection_id: FromPath[UUID],
    data: JSONBody[Mapping],
    if_match: IfMatch = None,
) -> Response[ConnectionOut]:
    connection = await rules.set_mapping(session, actor, connection_id, data, version_read(if_match))
    return await _answer(session, doors, connection)


@post(
    "/{connection_id:uuid}/mapping/preview",
    permission=READ,
    status_code=200,
    summary="What these claims would come to; changes nothing",
    responses=problems(NotFound, OwnerNotMapped, MappingNotAllowed),
)
async def preview_mapping(
    session: Session, actor: CurrentActor, connection_id: FromPath[UUID], data: JSONBody[PreviewIn]
) -> PreviewOut:
    connection = await rules.get_connection(session, connection_id)
    return _mapped(rules.preview(connection, actor, data))


@get(
    "/{connection_id:uuid}/attempts",
    permission=READ,
    summary="The newest sign-ins and tests of the last day, and what came of them",
    responses=problems(NotFound),
)
async def list_attempts(session: Session, actor: CurrentActor, connection_id: FromPath[UUID]) -> AttemptsOut:
    return AttemptsOut([_attempt(one) for one in await rules.list_attempts(session, connection_id)])


@get(
    "/{connection_id:uuid}/subjects",
    permission=READ,
    summary="Which member signs in with which account of the provider",
    responses=problems(NotFound),
)
async def list_subjects(
    session: Session,
    actor: CurrentActor,
    connection_id: FromPath[UUID],
    subject: FromQuery[Subject | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: FromQuery[Limit] = 50,
) -> Page[SubjectOut]:
    after = decode_cursor(_SUBJECTS, cursor, UUID)[0] if cursor else None
    found = await rules.list_subjects(session, connection_id, subject=subject, after=after, limit=limit + 1)
    return page(_SUBJECTS, found, limit, out=_subject, keys=lambda one: [str(one.id)])


router = Router(
    "/identity/v1/connections",
    route_handlers=[
        list_connections,
        create_connection,
        read_connection,
        change_connection,
        delete_connection,
        discover,
        set_mapping,
        preview_mapping,
        list_attempts,
        list_subjects,
    ],
    dependencies=web.dependencies(),
    tags=["Connections"],
)


async def _answer(session: Session, doors: Doors, connection: Connection) -> Response[ConnectionOut]:
    slug = (await get_tenant(session, connection.tenant_id)).slug
    return Response(_out(doors, slug, connection), headers=etag(connection.version))


def _out(doors: Doors, slug: str, one: Connection) -> ConnectionOut:
    return ConnectionOut(
        id=one.id,
        name=one.name,
        state=one.state,
        issuer=one.issuer,
        client_id=one.client_id,
        scopes=one.scopes,
        admission=one.admission,
        mapping=rules.mapping_of(one),
        redirect_uri=rules.redirect_uri(doors, slug, one.id),
        logout_uri=rules.logout_uri(doors, slug),
        backchannel_logout_uri=rules.backchannel_uri(doors, slug, one.id),
        setup_url=f"{doors.settings.public_url}/t/{slug}/connections/{one.id}",
        provider=_provider(one),
        version=one.version,
    )


def _provider(one: Connection) -> ProviderOut | None:
    if one.provider is None or one.discovered_at is None:
        return None
    said = provider_of(one.provider)
    return ProviderOut(
        authorization_endpoint=said.authorization_endpoint,
        token_endpoint=said.token_endpoint,
        jwks_uri=said.jwks_uri,
        userinfo_endpoint=said.userinfo_endpoint,
        end_session_endpoint=said.end_session_endpoint,
        algorithms=said.algorithms,
        sends_issuer=said.authorization_response_iss_parameter_supported,
        discovered_at=one.discovered_at,
        keys=len((one.keys or {}).get("keys", [])),
        keys_at=one.keys_at,
    )


def _mapped(mapped: Mapped) -> PreviewOut:
    return PreviewOut(**msgspec.structs.asdict(mapped))


def _attempt(one: ConnectionAttempt) -> AttemptOut:
    details = one.details or {}
    mapped = details.get("mapped")
    return AttemptOut(
        id=one.id,
        at=one.created_at,
        purpose=one.purpose,
        outcome=one.outcome,
        claims=details.get("claims"),
        mapped=msgspec.convert(mapped, PreviewOut) if mapped else None,
    )


def _subject(one: ConnectionSubject) -> SubjectOut:
    return SubjectOut(one.member_id, one.subject, one.created_at, one.seen_at)
