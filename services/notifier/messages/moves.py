"""A message goes from state to state by compare-and-set: of two that try, one does. Each step is told to the others."""

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import send
from libs.common.db import now
from libs.common.events.notifier import MailState, MessageChanged
from libs.common.events.subjects import event_subject
from services.notifier.messages.states import require_step
from services.notifier.messages.tables import Message


class Position(Protocol):
    """A message as it was read: a Message, or a row with these columns."""

    tenant_id: Any
    id: Any
    version: Any
    state: Any
    member_id: Any
    template: Any
    epoch: Any
    generation: Any


class _Row(msgspec.Struct, frozen=True):
    tenant_id: UUID
    id: UUID


async def move(
    session: AsyncSession,
    message: Position,
    to: MailState,
    *,
    reason: str | None = None,
    due_at: datetime | None = None,
    **values: object,
) -> bool:
    """False: somebody else moved it first, and nothing was changed. Raises IllegalStep for a way that is not there."""
    require_step(message.state, to)
    moved = await session.execute(
        update(Message)
        .where(
            Message.tenant_id == message.tenant_id,
            Message.id == message.id,
            Message.state == message.state,
            Message.version == message.version,
        )
        .values(state=to, reason=reason, due_at=due_at, version=Message.version + 1, changed_at=now(), **values)
        .returning(Message.version)
        .execution_options(synchronize_session=False)
    )
    version = moved.scalar_one_or_none()
    if version is not None and to != "sending":
        tell(session, message, to, reason, version)
    return version is not None


def tell(session: AsyncSession, message: Position, state: MailState, reason: str | None, version: int) -> None:
    """The outbox row. That a mail is being sent is no news: what comes of it is."""
    event = MessageChanged(
        message_id=message.id,
        member_id=message.member_id,
        template=message.template,
        state=state,
        epoch=message.epoch,
        generation=message.generation,
        reason=reason,
        at=now(),
    )
    row = _Row(message.tenant_id, message.id)
    subject = event_subject(event.type(), row.tenant_id, row.id)
    send(session, row, event.type(), subject, msgspec.to_builtins(event), version=version)
