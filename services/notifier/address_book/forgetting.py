"""Erasure and anonymisation: nothing of a member stays in the mail log, nor of what she wrote to others (C-67)."""

from typing import Any

import msgspec
from sqlalchemy import delete, or_
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import send
from libs.common.events.members import MemberErasing
from libs.common.events.notifier import MemberMailErased
from libs.common.events.subjects import event_subject
from libs.common.inlets import Received
from services.notifier.address_book.tables import Entry
from services.notifier.direct_messages.tables import DirectMessage
from services.notifier.messages.tables import Message
from services.notifier.suppressions.tables import Suppression


async def forget(session: AsyncSession, entry: Entry, life: str) -> dict[str, int]:
    """How many rows went, by kind. Bodies, attempts and reports go with their message."""
    hers = entry.member_id
    counts = {
        "direct_messages": await _delete(
            session, delete(DirectMessage).where(or_(DirectMessage.member_id == hers, DirectMessage.author_id == hers))
        ),
        "messages": await _delete(
            session,
            delete(Message).where(
                or_(Message.member_id == hers, (Message.actor_id == hers) & (Message.template == "direct_message"))
            ),
        ),
        "suppressions": await _delete(
            session, delete(Suppression).where(Suppression.email_canonical == entry.email_canonical)
        ),
    }
    entry.life, entry.display_name, entry.access, entry.blocked = life, "", "none", []
    entry.email = entry.email_canonical = entry.locale = entry.locked_until = None
    return counts


class _Row(msgspec.Struct, frozen=True):
    tenant_id: Any
    id: Any


def confirm_erasure(session: AsyncSession, event: Received[MemberErasing], counts: dict[str, int]) -> None:
    answer = MemberMailErased(certificate_id=event.data.certificate_id, counts=counts)
    row = _Row(event.tenant_id, event.row_id)
    subject = event_subject(answer.type(), row.tenant_id, row.id)
    send(session, row, answer.type(), subject, msgspec.to_builtins(answer), version=event.row_version)


async def _delete(session: AsyncSession, statement: Any) -> int:
    result: Any = await session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)
