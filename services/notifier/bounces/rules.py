"""What a report from outside does to a message: once for each report, and only where the state leaves it open."""

import hashlib
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.bounces.reports import Report
from services.notifier.bounces.tables import DeliveryReport
from services.notifier.messages.moves import Step, move
from services.notifier.messages.replies import Verdict, judge_status
from services.notifier.messages.states import EDGES
from services.notifier.messages.tables import Message
from services.notifier.suppressions.rules import suppress_bounced, suppress_complained


async def take_report(session: AsyncSession, message_id: UUID, report: Report, raw: bytes) -> None:
    """Nothing happens for a message that is gone, or a report that was here before."""
    message = await session.scalar(select(Message).where(Message.id == message_id).with_for_update())
    if message is None:
        return
    row = {
        "tenant_id": message.tenant_id,
        "message_id": message.id,
        "digest": hashlib.sha256(raw).digest(),
        "kind": report.kind,
        "status": report.status or None,
        "diagnostic": report.diagnostic,
        "server": report.server,
    }
    new = insert(DeliveryReport).values(row).on_conflict_do_nothing().returning(DeliveryReport.id)
    if (await session.scalar(new)) is None:
        return
    match report.kind:
        case "failed" if "bounced" in EDGES[message.state]:
            dead = judge_status(report.status, report.diagnostic) is Verdict.BAD_ADDRESS
            await move(session, message, Step(state="bounced", reason="bad_address" if dead else "refused"))
            if dead:
                await suppress_bounced(session, message, report.diagnostic or report.status)
        case "delivered" if "delivered" in EDGES[message.state]:
            await move(session, message, Step(state="delivered", reason=message.reason))
        case "complained" if "complained" in EDGES[message.state]:
            await move(session, message, Step(state="complained", reason="complaint"))
            await suppress_complained(session, message, report.diagnostic or "complaint")
