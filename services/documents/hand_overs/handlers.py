"""Whether somebody who left documents behind still has access, whatever changed it. Runs after people/handlers.py."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.identity import MembershipActivated, MembershipEnded
from libs.common.events.members import AccessWanted
from libs.common.inlets import Received, caused_by
from services.documents.hand_overs.rules import review, who_had_access


async def review_access(session: AsyncSession, events: Sequence[Received[AccessWanted]]) -> None:
    by_member = {event.row_id: event for event in events}
    for member_id in await who_had_access(session, by_member):
        with caused_by(by_member[member_id]):
            await review(session, events[0].tenant_id, member_id)


async def review_membership(session: AsyncSession, event: Received[MembershipActivated | MembershipEnded]) -> None:
    await review(session, event.tenant_id, event.data.member_id)
