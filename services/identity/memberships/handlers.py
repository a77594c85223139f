from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.consumers import Received, on
from libs.common.events.members import AccessWanted
from services.identity.memberships.access import apply_access


async def access_wanted(session: AsyncSession, event: Received[AccessWanted]) -> None:
    await apply_access(session, event.tenant_id, event.row_id, event.data)


handlers = [on(AccessWanted, access_wanted)]
