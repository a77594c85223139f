import msgspec
from litestar import Response, Router, get, patch
from litestar.params import JSONBody

from libs.common.app import CurrentActor, Session, problems
from libs.common.auth import AUTHENTICATED
from libs.common.errors import Outdated, VersionRequired
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from services.documents.tenants import rules
from services.documents.tenants.schemas import PolicyEdit, PolicyOut, policy_out
from services.documents.uploads.rules import tenant_of


@get("/settings", permission=AUTHENTICATED)
async def read_settings(session: Session, actor: CurrentActor) -> Response[PolicyOut]:
    """What the tenant allows; everybody who uploads needs to know."""
    policy = await rules.get_policy(session, tenant_of(actor))
    return Response(policy_out(policy), headers=etag(policy.version))


@patch("/settings", permission=Permission.DOCUMENTS_SETTINGS, responses=problems(Outdated, VersionRequired))
async def edit_settings(
    session: Session, actor: CurrentActor, data: JSONBody[PolicyEdit], if_match: IfMatch = None
) -> Response[PolicyOut]:
    fields = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    policy = await rules.edit_policy(session, actor, tenant_of(actor), version=version_read(if_match), **fields)
    return Response(policy_out(policy), headers=etag(policy.version))


@get("/usage", permission=AUTHENTICATED)
async def read_usage(session: Session, actor: CurrentActor) -> rules.Usage:
    return await rules.usage(session, actor, await rules.get_policy(session, tenant_of(actor)))


router = Router("/documents/v1", route_handlers=[read_settings, edit_settings, read_usage], tags=["Settings"])
