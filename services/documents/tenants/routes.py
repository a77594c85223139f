from uuid import UUID

import msgspec
from litestar import Response, Router, get, patch
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.app import CurrentActor, Session, problems
from libs.common.auth import AUTHENTICATED
from libs.common.errors import Outdated, VersionRequired
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from services.documents.edges import FileEdges
from services.documents.tenants import rules
from services.documents.tenants.schemas import LimitsEdit, LimitsOut, PolicyEdit, PolicyOut, policy_out
from services.documents.tenants.tables import Policy


@get("/settings", permission=AUTHENTICATED)
async def read_settings(session: Session, actor: CurrentActor) -> Response[PolicyOut]:
    """What the tenant allows; everybody who uploads needs to know."""
    policy = await rules.get_policy(session, rules.tenant_of(actor))
    return Response(policy_out(policy), headers=etag(policy.version))


@patch("/settings", permission=Permission.DOCUMENTS_SETTINGS, responses=problems(Outdated, VersionRequired))
async def edit_settings(
    session: Session, actor: CurrentActor, data: JSONBody[PolicyEdit], if_match: IfMatch = None
) -> Response[PolicyOut]:
    fields = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    policy = await rules.edit_policy(session, actor, rules.tenant_of(actor), version=version_read(if_match), **fields)
    return Response(policy_out(policy), headers=etag(policy.version))


@get("/usage", permission=AUTHENTICATED)
async def read_usage(session: Session, actor: CurrentActor) -> rules.Usage:
    return await rules.usage(session, actor, await rules.get_policy(session, rules.tenant_of(actor)))


@get("/{tenant_id:uuid}/limits", permission=AUTHENTICATED, operator=True)
async def read_limits(edges: FileEdges, tenant_id: FromPath[UUID]) -> Response[LimitsOut]:
    """How much a tenant may store and does; nothing of what."""
    async with edges.database.session(tenant_id) as session:
        return await _limits(session, await rules.get_policy(session, tenant_id))


@patch(
    "/{tenant_id:uuid}/limits",
    permission=AUTHENTICATED,
    operator=True,
    responses=problems(Outdated, VersionRequired),
)
async def edit_limits(
    actor: CurrentActor,
    edges: FileEdges,
    tenant_id: FromPath[UUID],
    data: JSONBody[LimitsEdit],
    if_match: IfMatch = None,
) -> Response[LimitsOut]:
    fields = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    async with edges.database.session(tenant_id) as session:
        policy = await rules.edit_policy(session, actor, tenant_id, version=version_read(if_match), **fields)
        return await _limits(session, policy)


async def _limits(session: AsyncSession, policy: Policy) -> Response[LimitsOut]:
    used = await rules.used_bytes(session)
    limits = LimitsOut(policy.max_file_bytes, policy.tenant_quota_bytes, used, policy.version)
    return Response(limits, headers=etag(policy.version))


_operators = Router("/operator/tenants", route_handlers=[read_limits, edit_limits])
router = Router(
    "/documents/v1", route_handlers=[read_settings, edit_settings, read_usage, _operators], tags=["Settings"]
)
