"""Tenants as operators see them. Each write runs in the tenant, as the app role; lists as the operator role."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from libs.common.app import CurrentActor, problems
from libs.common.auth import AUTHENTICATED
from libs.common.db import PLATFORM
from libs.common.errors import Malformed, NotFound
from libs.common.etags import IfMatch, etag, version_read
from libs.common.pages import Page, decode_cursor, page
from libs.common.text import AddressMalformed
from services.members.access.limits import InvitationLimitReached
from services.members.people.routes import Limit
from services.members.people.rules import EmailTaken
from services.members.seats.rules import SeatLimitReached
from services.members.seats.schemas import SeatsOut
from services.members.tenants import rules
from services.members.tenants.schemas import OperatorTenantIn, OperatorTenantOut, OperatorTenantPatch, OwnerAddressIn

_COLUMN = {"seats": "seat_limit"}


@post(
    "/",
    permission=AUTHENTICATED,
    operator=True,
    responses=problems(rules.SlugTaken, rules.UnknownTimeZone, AddressMalformed),
    summary="Make a tenant and invite its first owner",
)
async def create_tenant(
    state: State, actor: CurrentActor, data: JSONBody[OperatorTenantIn]
) -> Response[OperatorTenantOut]:
    owner = rules.owner_profile(data.owner.email, data.owner.login_name, data.owner.display_name, data.locale)
    async with state.database.session(PLATFORM) as session:
        tenant = await rules.create_tenant(
            session,
            actor,
            slug=data.slug,
            name=data.name,
            locale=data.locale,
            time_zone=data.time_zone,
            seats=data.seats,
            owner=owner,
        )
    return Response(_out(tenant), status_code=201, headers=etag(tenant.version))


@get("/", permission=AUTHENTICATED, operator=True, responses=problems(Malformed), summary="All tenants, newest first")
async def list_tenants(
    state: State, cursor: FromQuery[str | None] = None, limit: Limit = 50
) -> Page[OperatorTenantOut]:
    after = decode_cursor("tenants", cursor, UUID)[0] if cursor else None
    async with state.operator_database.session(PLATFORM) as session:
        rows = await rules.list_tenants(session, after=after, limit=limit + 1)
    return page("tenants", rows, limit, out=_out, keys=lambda row: [str(row.id)])


@get("/{tenant_id:uuid}", permission=AUTHENTICATED, operator=True, responses=problems(NotFound), summary="One tenant")
async def read_tenant(state: State, tenant_id: FromPath[UUID]) -> Response[OperatorTenantOut]:
    async with state.database.session(tenant_id) as session:
        tenant = await rules.get_tenant(session)
    return Response(_out(tenant), headers=etag(tenant.version))


@patch(
    "/{tenant_id:uuid}",
    permission=AUTHENTICATED,
    operator=True,
    responses=problems(NotFound),
    summary="Set seats, mail class, state",
)
async def edit_tenant(
    state: State,
    actor: CurrentActor,
    tenant_id: FromPath[UUID],
    data: JSONBody[OperatorTenantPatch],
    if_match: IfMatch = None,
) -> Response[OperatorTenantOut]:
    """Fewer seats than are held evict nobody; no further one is given."""
    given = msgspec.structs.asdict(data).items()
    changed = {_COLUMN.get(name, name): value for name, value in given if value is not UNSET}
    version = version_read(if_match)
    async with state.database.session(tenant_id) as session:
        tenant = await rules.edit_tenant(session, actor, changed, version=version)
    return Response(_out(tenant), headers=etag(tenant.version))


@post(
    "/{tenant_id:uuid}/owner",
    permission=AUTHENTICATED,
    operator=True,
    responses=problems(
        NotFound, rules.OwnerHasAccepted, EmailTaken, AddressMalformed, SeatLimitReached, InvitationLimitReached
    ),
    status_code=204,
    summary="Send the first owner's invitation to another address, or again",
)
async def readdress_owner(
    state: State, actor: CurrentActor, tenant_id: FromPath[UUID], data: JSONBody[OwnerAddressIn]
) -> None:
    async with state.database.session(tenant_id) as session:
        await rules.readdress_owner(session, actor, email=data.email)


router = Router(
    "/members/v1/operator/tenants",
    route_handlers=[create_tenant, list_tenants, read_tenant, edit_tenant, readdress_owner],
    tags=["Operators"],
)


def _out(tenant: Any) -> OperatorTenantOut:
    own = {name: getattr(tenant, name) for name in OperatorTenantOut.__struct_fields__ if name != "seats"}
    return OperatorTenantOut(**own, seats=SeatsOut.of(tenant.seat_limit, tenant.seats_used, tenant.seats_reserved))
