"""A message goes from state to state by compare-and-set: of two that try, one does. Each step is told to the others."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import send
from libs.common.db import now
from libs.common.events.notifier import MailState, MessageChanged
from libs.common.events.subjects import event_subject
from services.notifier.messages.states import require_step
from services.notifier.messages.tables import Message
from services.notifier.tables import tenant_of


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message goes. Of the fields after due_at, those that are None stay as they are."""

    state: MailState
    reason: str | None = None
    due_at: datetime | None = None
    tries: int | None = None
    uncertain: int | None = None
    attempts: int | None = None
    first_try_at: datetime | None = None
    attempt_id: UUID | None = None
    template_version: str | None = None


_KEPT = ("tries", "uncertain", "attempts", "first_try_at", "attempt_id", "template_version")
_MOVE = text("""
UPDATE messages AS m
SET state = step.state, reason = step.reason, due_at = step.due_at, version = m.version + 1, changed_at = :now,
    tries = coalesce(step.tries, m.tries),
    uncertain = coalesce(step.uncertain, m.uncertain),
    attempts = coalesce(step.attempts, m.attempts),
    first_try_at = coalesce(step.first_try_at, m.first_try_at),
    attempt_id = coalesce(step.attempt_id, m.attempt_id),
    template_version = coalesce(step.template_version, m.template_version)
FROM unnest(
    CAST(:id AS uuid[]), CAST(:old_state AS text[]), CAST(:old_version AS bigint[]),
    CAST(:state AS text[]), CAST(:reason AS text[]), CAST(:due_at AS timestamptz[]),
    CAST(:tries AS integer[]), CAST(:uncertain AS integer[]), CAST(:attempts AS integer[]),
    CAST(:first_try_at AS timestamptz[]), CAST(:attempt_id AS uuid[]), CAST(:template_version AS text[])
) AS step (
    id, old_state, old_version, state, reason, due_at,
    tries, uncertain, attempts, first_try_at, attempt_id, template_version
)
WHERE m.tenant_id = :tenant_id AND m.id = step.id AND m.state = step.old_state AND m.version = step.old_version
RETURNING m.id, m.version
""")


async def move_all(session: AsyncSession, steps: Sequence[tuple[Message, Step]]) -> set[UUID]:
    """The ids of those that moved; the others somebody else moved first, and nothing of them was changed.

    The messages are as they were read, of the session's tenant. Raises IllegalStep for a way that is not there.
    """
    if not steps:
        return set()
    for message, step in steps:
        require_step(message.state, step.state)
    values: dict[str, Any] = {
        "tenant_id": tenant_of(session),
        "now": now(),
        "id": [message.id for message, _ in steps],
        "old_state": [message.state for message, _ in steps],
        "old_version": [message.version for message, _ in steps],
    }
    for name in ("state", "reason", "due_at", *_KEPT):
        values[name] = [getattr(step, name) for _, step in steps]
    moved = {row.id: row.version for row in await session.execute(_MOVE, values)}
    for message, step in steps:
        if message.id in moved and step.state != "sending":
            tell(session, message, step.state, step.reason, moved[message.id])
    return set(moved)


async def move(session: AsyncSession, message: Message, step: Step) -> bool:
    """False: somebody else moved it first."""
    return bool(await move_all(session, [(message, step)]))


def tell(session: AsyncSession, message: Message, state: MailState, reason: str | None, version: int) -> None:
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
    subject = event_subject(event.type(), message.tenant_id, message.id)
    send(session, message, event.type(), subject, msgspec.to_builtins(event), version=version)
