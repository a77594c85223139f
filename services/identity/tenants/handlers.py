from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.members import TenantSaved
from libs.common.inlets import Received, on
from services.identity.tenants.rules import save_tenant


async def tenant_saved(session: AsyncSession, event: Received[TenantSaved]) -> None:
    await save_tenant(session, event.tenant_id, event.row_version, event.data)


handlers = [on(TenantSaved, tenant_saved)]
