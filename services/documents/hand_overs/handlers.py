"""Whether somebody who left documents behind still has access, whatever changed it. Runs after people/handlers.py."""

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.identity import MembershipActivated, MembershipEnded
from libs.common.events.members import AccessWanted
from libs.common.inlets import Received
from services.documents.hand_overs.rules import review


async def review_access(session: AsyncSession, event: Received[AccessWanted]) -> None:
    await review(session, event.tenant_id, event.row_id)


async def review_membership(session: AsyncSession, event: Received[MembershipActivated | MembershipEnded]) -> None:
    await review(session, event.tenant_id, event.data.member_id)
