"""Tenants as members tells of them, and the way from a slug to its tenant."""

import re
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common import revocation
from libs.common.changes import send
from libs.common.errors import NotFound
from libs.common.events.members import TenantSaved
from libs.common.inlets import NotYet
from services.identity.tenants.tables import Tenant, TenantRoute

_SLUG = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)


async def save_tenant(session: AsyncSession, tenant_id: UUID, version: int, saved: TenantSaved) -> None:
    """Applies only what is newer. Raises NotYet while another tenant still holds the slug."""
    values = {field: getattr(saved, field) for field in _TAKEN}
    tenant = await session.get(Tenant, (tenant_id, tenant_id), with_for_update=True)
    if tenant is not None and tenant.version >= version:
        return
    was_closed = tenant is not None and tenant.state == "closed"
    if tenant is None:
        tenant = Tenant(tenant_id=tenant_id, id=tenant_id)
        session.add(tenant)
    for field, value in values.items():
        setattr(tenant, field, value)
    tenant.version = version
    await session.flush()
    await _move_route(session, tenant)
    if was_closed != (tenant.state == "closed"):
        notice = revocation.tenant_closed(tenant_id, closed=tenant.state == "closed")
        send(session, tenant, "revoked.tenant", *notice, version=version)


async def find_tenant_id(session: AsyncSession, slug: str) -> UUID | None:
    """Whatever stood in the path."""
    route = await session.get(TenantRoute, slug) if _SLUG.fullmatch(slug) else None
    return route.tenant_id if route else None


async def find_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    return await session.get(Tenant, (tenant_id, tenant_id))


async def get_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant:
    tenant = await find_tenant(session, tenant_id)
    if tenant is None:
        raise NotFound
    return tenant


async def lock_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    """The lock under which owners are counted; before any lock on a membership. Readers and foreign keys pass."""
    query = select(Tenant).where(Tenant.tenant_id == tenant_id).with_for_update(key_share=True)
    return await session.scalar(query.execution_options(populate_existing=True))


_TAKEN = (
    "slug", "display_name", "locale", "time_zone", "state", "colour", "imprint_url", "privacy_url"
)  # fmt: skip


async def _move_route(session: AsyncSession, tenant: Tenant) -> None:
    route = insert(TenantRoute).values(slug=tenant.slug, tenant_id=tenant.id)
    await session.execute(route.on_conflict_do_nothing())
    if await find_tenant_id(session, tenant.slug) != tenant.id:
        raise NotYet(f"the slug {tenant.slug} still leads to another tenant")
    elsewhere = (TenantRoute.tenant_id == tenant.id, TenantRoute.slug != tenant.slug)
    await session.execute(delete(TenantRoute).where(*elsewhere))
