from litestar import Router, get

from libs.common.app import Session
from libs.common.permissions import Permission
from services.members.seats.schemas import SeatsOut
from services.members.tenants.rules import get_tenant


@get("/", permission=Permission.MEMBERS_READ, summary="How many seats are left")
async def read_seats(session: Session) -> SeatsOut:
    tenant = await get_tenant(session)
    return SeatsOut.of(tenant.seat_limit, tenant.seats_used, tenant.seats_reserved)


router = Router("/members/v1/seats", route_handlers=[read_seats], tags=["Seats"])
