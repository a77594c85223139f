from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.members import AccessWanted
from libs.common.inlets import Received, on
from services.identity.memberships.access import apply_access


async def access_wanted(session: AsyncSession, event: Received[AccessWanted]) -> None:
    await apply_access(session, event.tenant_id, event.row_id, event.data)


handlers = [on(AccessWanted, access_wanted)]
