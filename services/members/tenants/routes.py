"""The tenant's own settings."""

import msgspec
from litestar import Response, Router, get, patch
from litestar.params import JSONBody
from msgspec import UNSET

from libs.common.app import CurrentActor, Session, problems
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from services.members.seats.schemas import SeatsOut
from services.members.tenants import rules
from services.members.tenants.schemas import TenantOut, TenantPatch
from services.members.tenants.tables import Tenant


@get("/", permission=Permission.TENANT_READ, summary="The tenant and its settings")
async def read_tenant(session: Session) -> Response[TenantOut]:
    tenant = await rules.get_tenant(session)
    return Response(_out(tenant), headers=etag(tenant.version))


@patch("/", permission=Permission.TENANT_WRITE, responses=problems(rules.UnknownTimeZone), summary="Change settings")
async def edit_tenant(
    session: Session, actor: CurrentActor, data: JSONBody[TenantPatch], if_match: IfMatch = None
) -> Response[TenantOut]:
    changed = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
    tenant = await rules.edit_tenant(session, actor, changed, version=version_read(if_match))
    return Response(_out(tenant), headers=etag(tenant.version))


router = Router("/members/v1/tenant", route_handlers=[read_tenant, edit_tenant], tags=["Tenant"])


def _out(tenant: Tenant) -> TenantOut:
    own = {name: getattr(tenant, name) for name in TenantOut.__struct_fields__ if name != "seats"}
    return TenantOut(**own, seats=SeatsOut.of(tenant.seat_limit, tenant.seats_used, tenant.seats_reserved))
