"""What belongs to no tenant (a person, her sessions, operators) leaves audit and events in tenant zero."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import PLATFORM, use_tenant


@asynccontextmanager
async def in_platform(session: AsyncSession) -> AsyncIterator[None]:
    """The same transaction, in tenant zero for a while; then back in its own."""
    tenant_id = session.info["tenant_id"]
    await session.flush()
    await use_tenant(session, PLATFORM)
    yield
    await session.flush()
    await use_tenant(session, tenant_id)
