"""The mail log: every message of the tenant, newest first, by any filter; one with all that happened to it."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Select, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.errors import Forbidden, NotFound
from libs.common.events.notifier import MailState
from libs.common.permissions import Permission
from libs.common.text import canonical_address
from libs.common.tokens import Actor
from services.notifier.bounces.tables import DeliveryReport
from services.notifier.messages.tables import Attempt, Body, Message
from services.notifier.templates.catalog import Name


class MessageFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """All that is given must apply; of several states, any."""

    member_id: UUID | None = None
    email: str | None = None
    template: Name | None = None
    state: list[MailState] = []
    cause_id: UUID | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None

    def name(self) -> str:
        """Of the list that it makes: a cursor serves no other."""
        return f"messages:{hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]}"


class Story(NamedTuple):
    message: Message
    body: Body | None
    attempts: Sequence[Attempt]
    reports: Sequence[DeliveryReport]
    copies: Sequence[UUID]


async def list_messages(
    session: AsyncSession, actor: Actor, filter: MessageFilter, *, after: UUID | None, limit: int
) -> Sequence[tuple[Message, Attempt | None]]:
    """Each with its newest attempt. Raises Forbidden for a filter by address where the actor may not see addresses."""
    require_filter(actor, filter)
    query = (
        select(Message, Attempt)
        .outerjoin(Attempt, and_(Attempt.tenant_id == Message.tenant_id, Attempt.id == Message.attempt_id))
        .order_by(Message.id.desc())
        .limit(limit)
    )
    if after:
        query = query.where(Message.id < after)
    return [(row.Message, row.Attempt) for row in await session.execute(narrowed(query, filter))]


def require_filter(actor: Actor, filter: MessageFilter) -> None:
    if filter.email is not None and Permission.MEMBERS_CONTACT not in actor.rights:
        raise Forbidden(permission=Permission.MEMBERS_CONTACT)


def narrowed[S: Select](query: S, filter: MessageFilter) -> S:
    """Ids begin with their time (UUIDv7), so that times are a range of the key."""
    if filter.member_id:
        query = query.where(Message.member_id == filter.member_id)
    if filter.email is not None:
        query = query.where(Message.email_canonical == canonical_address(filter.email))
    if filter.template:
        query = query.where(Message.template == filter.template)
    if filter.state:
        query = query.where(Message.state.in_(filter.state))
    if filter.cause_id:
        query = query.where(Message.cause_id == filter.cause_id)
    if filter.created_from:
        query = query.where(Message.id >= _first_id(filter.created_from))
    if filter.created_to:
        query = query.where(Message.id < _first_id(filter.created_to))
    return query


async def read_message(session: AsyncSession, message_id: UUID) -> Story:
    """Raises NotFound."""
    query = (
        select(Message, Body)
        .outerjoin(Body, and_(Body.tenant_id == Message.tenant_id, Body.message_id == Message.id))
        .where(Message.id == message_id)
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFound
    attempts = await session.scalars(select(Attempt).where(Attempt.message_id == message_id).order_by(Attempt.id))
    reports = await session.scalars(
        select(DeliveryReport).where(DeliveryReport.message_id == message_id).order_by(DeliveryReport.id)
    )
    copies = await session.scalars(select(Message.id).where(Message.copy_of == message_id).order_by(Message.id))
    return Story(row.Message, row.Body, attempts.all(), reports.all(), copies.all())


def _first_id(at: datetime) -> UUID:
    """The smallest UUIDv7 of this millisecond (RFC 9562 section 5.7)."""
    milliseconds = min(max(int(at.timestamp() * 1000), 0), 2**48 - 1)
    return UUID(int=milliseconds << 80)
