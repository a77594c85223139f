from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.strings import supported
from services.notifier.tenants.tables import Tenant

log = structlog.get_logger()


async def find_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    """None where members has not told us yet, and for the platform itself."""
    return await session.scalar(select(Tenant).where(Tenant.tenant_id == tenant_id))


async def locale_for(session: AsyncSession, tenant_id: UUID, *wanted: str | None) -> str:
    """As choose_locale, with the tenant's own."""
    tenant = await find_tenant(session, tenant_id)
    return choose_locale(tenant_id, *wanted, tenant.locale if tenant else None)


def choose_locale(tenant_id: UUID, *wanted: str | None) -> str:
    """R-27: invitation, person, tenant, system; always the recipient's. A language we have no words for is skipped."""
    chain = [locale for locale in wanted if locale]
    chosen = supported(*chain)
    if chain and not chain[0].lower().startswith(chosen):
        log.warning("locale_not_supported", wanted=chain[0], chosen=chosen, tenant_id=str(tenant_id))
    return chosen
