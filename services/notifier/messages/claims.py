"""Taking messages to send them: looked at again, written down as attempts, and leased, all in one transaction.

Two workers never have the same message: the row is locked, and the state changes by compare-and-set. A worker that died
loses its lease, and what it was doing is uncertain: the mail is sent once more with the same Message-ID, and says so.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.limits import rules as limits
from services.notifier.mail_settings.tables import Logo
from services.notifier.messages import gates
from services.notifier.messages.bodies import NotRendered, draft_of, write_body
from services.notifier.messages.compose import compose
from services.notifier.messages.facts import Held, hold_due
from services.notifier.messages.house import House
from services.notifier.messages.moves import Step, move_all
from services.notifier.messages.steps import after_lost_answer
from services.notifier.messages.tables import Attempt, Body, Message
from services.notifier.tables import tenant_of
from services.notifier.templates.catalog import KINDS
from services.notifier.templates.published import published_sources

log = structlog.get_logger()

_BODY = ("tenant_id", "message_id", "sender_name", "reply_to", "subject", "text", "html", "logo_id")


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A message in a worker's hand: an attempt that has begun."""

    tenant_id: UUID
    message_id: UUID
    attempt_id: UUID
    started_at: datetime
    recipient: str
    content: bytes


class _Ready(msgspec.Struct, frozen=True):
    """version: of the template, where the body was written just now."""

    held: Held
    recipient: str
    content: bytes
    new_body: Body | None
    version: str | None


async def claim_all(
    session: AsyncSession, ids: Sequence[UUID], *, now: datetime, lease: timedelta, house: House
) -> dict[UUID, Claim]:
    """Those of the ids (of one tenant) that are to be sent now. The others somebody else has, or they have moved on to
    where they belong.
    """
    held = await hold_due(session, ids, now)
    open_ = await _set_aside(session, held, now)
    open_ = await _hold_back(session, open_, now)
    ready, spoilt = await _write(session, open_, house)
    await move_all(session, [(one.message, Step(state="failed", reason="not_rendered")) for one in spoilt])
    return await _begin(session, ready, now, lease, house)


async def _set_aside(session: AsyncSession, held: Sequence[Held], now: datetime) -> list[Held]:
    """Gives those that nothing stops; the others get the state that they belong in."""
    steps: list[tuple[Message, Step]] = []
    open_, lost = [], []
    for one in held:
        message, halt = one.message, gates.stop(one.facts, now)
        if message.state == "sending":  # the lease has run out: whoever had it is gone
            lost.append(message.attempt_id)
            steps.append((message, after_lost_answer(message, now)))
        elif halt is not None and halt.state == message.state:
            message.due_at = halt.due_at
        elif halt is not None:
            steps.append((message, Step(state=halt.state, reason=halt.reason, due_at=halt.due_at)))
        elif message.state == "suppressed":
            steps.append((message, Step(state="queued", due_at=now)))
        else:
            open_.append(one)
    if lost:
        await session.execute(
            update(Attempt)
            .where(Attempt.id.in_(lost), Attempt.ended_at.is_(None))
            .values(ended_at=now, outcome="uncertain", reply="The worker ended before an answer came")
        )
    await move_all(session, steps)
    return open_


async def _hold_back(session: AsyncSession, open_: list[Held], now: datetime) -> list[Held]:
    """R-28: tries of the same invitation count once; of two to one address the second waits for its turn."""
    first = {one.message.email_canonical: one for one in open_ if _is_first_invitation(one.message)}
    allowed = await limits.may_invite(session, list(first), now)
    limited = [one.message for email, one in first.items() if email not in allowed]
    held_back = Step(state="deferred", reason="limited", due_at=now + limits.RETRY)
    await move_all(session, [(message, held_back) for message in limited])
    return [
        one
        for one in open_
        if not _is_first_invitation(one.message)
        or (first[one.message.email_canonical] is one and one.message.email_canonical in allowed)
    ]


def _is_first_invitation(message: Message) -> bool:
    return KINDS[message.template].group == "invitation" and message.attempts == 0


async def _write(session: AsyncSession, open_: Sequence[Held], house: House) -> tuple[list[_Ready], list[Held]]:
    """Each mail as it goes out, and those that cannot be composed."""
    wanted = {(one.message.template, one.message.locale) for one in open_ if one.body is None}
    sources = await published_sources(session, wanted)
    logos = await _logos(session, open_)
    ready, spoilt = [], []
    for one in open_:
        source = sources.get((one.message.template, one.message.locale))
        try:
            new = write_body(one, source, house) if one.body is None and source else None
            body = one.body or new
            assert body is not None  # noqa: S101 one of the two
            draft = draft_of(one.message, body, logos.get(body.logo_id), house)
            content = compose(draft)
        except (NotRendered, ValueError, TypeError) as error:
            log.exception("mail_not_composed", message_id=str(one.message.id), exc_info=error)
            spoilt.append(one)
        else:
            ready.append(_Ready(one, draft.recipient, content, new, source.version if new and source else None))
    return ready, spoilt


async def _begin(
    session: AsyncSession, ready: Sequence[_Ready], now: datetime, lease: timedelta, house: House
) -> dict[UUID, Claim]:
    if not ready:
        return {}
    if bodies := [one.new_body for one in ready if one.new_body]:
        await session.execute(insert(Body), [{name: getattr(body, name) for name in _BODY} for body in bodies])
    attempts = [
        {
            "tenant_id": tenant_of(session),
            "message_id": one.held.message.id,
            "number": one.held.message.attempts + 1,
            "created_at": now,
            "host": house.relay_host,
        }
        for one in ready
    ]
    begun = await session.execute(insert(Attempt).returning(Attempt.message_id, Attempt.id), attempts)
    attempt_ids: Mapping[UUID, UUID] = {row.message_id: row.id for row in begun}
    steps = [
        (
            one.held.message,
            Step(
                state="sending",
                reason=one.held.message.reason,
                due_at=now + lease,
                attempts=one.held.message.attempts + 1,
                attempt_id=attempt_ids[one.held.message.id],
                template_version=one.version,
            ),
        )
        for one in ready
    ]
    moved = await move_all(session, steps)
    return {
        one.held.message.id: Claim(
            tenant_id=tenant_of(session),
            message_id=one.held.message.id,
            attempt_id=attempt_ids[one.held.message.id],
            started_at=now,
            recipient=one.recipient,
            content=one.content,
        )
        for one in ready
        if one.held.message.id in moved
    }


async def _logos(session: AsyncSession, open_: Sequence[Held]) -> dict[UUID | None, tuple[str, bytes]]:
    ids = {one.body.logo_id if one.body else one.settings and one.settings.logo_id for one in open_} - {None}
    if not ids:
        return {}
    found = await session.execute(select(Logo.id, Logo.type, Logo.data).where(Logo.id.in_(ids)))
    return {row.id: (row.type, row.data) for row in found}
