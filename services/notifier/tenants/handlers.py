"""Keeps what members says of a tenant, the newest of it."""

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.members import TenantSaved
from libs.common.inlets import Received
from services.notifier.tenants.tables import Tenant

_KEPT = ("slug", "display_name", "locale", "time_zone", "state", "colour", "imprint_url", "privacy_url", "mail_class")


async def keep_tenant(session: AsyncSession, event: Received[TenantSaved]) -> None:
    said = msgspec.structs.asdict(event.data)
    row = {name: said[name] for name in _KEPT} | {"tenant_id": event.tenant_id, "version": event.row_version}
    await session.execute(
        insert(Tenant)
        .values(row)
        .on_conflict_do_update(index_elements=["tenant_id"], set_=row, where=Tenant.version < event.row_version)
    )
