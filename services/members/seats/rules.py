"""The seat ledger is the tenant's row: locked before it is read, changed with the fact that needs the seat."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.errors import Conflict, NotFound
from services.members.facts import Seat
from services.members.tenants.tables import Tenant


class SeatLimitReached(Conflict):
    """Params: limit."""

    title = "All seats are taken: buy one or free one"


async def lock_tenant(session: AsyncSession) -> Tenant:
    """The session's tenant, locked until the transaction ends; always before a member's row, so that nobody waits in
    a circle. FOR NO KEY UPDATE lets foreign keys be checked meanwhile.
    """
    tenant_id: UUID = session.info["tenant_id"]
    query = select(Tenant).where(Tenant.id == tenant_id).with_for_update(key_share=True)
    tenant = await session.scalar(query.execution_options(populate_existing=True))
    if tenant is None:
        raise NotFound
    return tenant


def admit_seat(tenant: Tenant, held: Seat | None, wanted: Seat | None, *, over_limit: bool = False) -> None:
    """Move a member from one kind of seat to another (R-08): every path comes through here, with the tenant locked.

    Raises SeatLimitReached only where one more is needed: what holds a seat may always turn from reserved to used.
    """
    if wanted and not held and not tenant.seats_free and not over_limit:
        raise SeatLimitReached(limit=tenant.seat_limit)
    if held != wanted:
        tenant.seats_used += (wanted == "used") - (held == "used")
        tenant.seats_reserved += (wanted == "reserved") - (held == "reserved")
