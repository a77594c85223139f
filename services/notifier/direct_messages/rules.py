"""Direct messages by admins (A-41 to A-44): subject and text, sent as mail, kept in the product for the member to read.

Before sending, the way is shown: to which address, or why she cannot be reached.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import Conflict, NotFound
from libs.common.projections import wait_for_member
from libs.common.text import masked_address
from libs.common.tokens import Actor
from services.notifier.address_book.matrix import may_get
from services.notifier.address_book.rules import column, is_gone
from services.notifier.address_book.tables import Entry
from services.notifier.direct_messages.tables import DirectMessage
from services.notifier.mail_settings.rules import find_settings, overrides
from services.notifier.messages.queueing import Mail, queue
from services.notifier.messages.tables import Message
from services.notifier.strings import words
from services.notifier.suppressions.tables import Suppression
from services.notifier.tables import tenant_of
from services.notifier.tenants.rules import choose_locale, find_tenant, locale_for

CAUSE = "notifier.direct_message.written.v1"

Way = Literal["email", "no_email", "state_forbids", "suppressed"]


class CannotBeReached(Conflict):
    """Raised with way: no_email, state_forbids, suppressed."""

    title = "The member cannot be reached"


class Contact(msgspec.Struct, frozen=True):
    """How the member would be contacted, as a code and in words (A-43)."""

    way: Way
    text: str


async def find_contact(session: AsyncSession, member_id: UUID) -> Contact:
    """Raises NotFound."""
    entry = await _get_entry(session, member_id)
    way = await _way(session, entry)
    locale = await locale_for(session, tenant_of(session))
    return Contact(way, words(locale)[f"way.{way}"].format(address=masked_address(entry.email or "")))


async def write(session: AsyncSession, actor: Actor, *, member_id: UUID, subject: str, text: str) -> DirectMessage:
    """Queued as a mail and kept for her to read. Raises NotFound, MemberNotKnownYet, CannotBeReached."""
    entry = await wait_for_member(member_id, lambda: _find_entry(session, member_id))
    if is_gone(entry):
        raise NotFound
    if (way := await _way(session, entry)) != "email" or entry.email is None:
        raise CannotBeReached(way=way)
    tenant = await find_tenant(session, tenant_of(session))
    mail = Mail(
        template="direct_message",
        cause_id=uuid4(),
        cause_type=CAUSE,
        email=entry.email,
        locale=choose_locale(tenant_of(session), entry.locale, tenant.locale if tenant else None),
        data={
            "subject": subject,
            "message": text,
            "name": entry.display_name,
            "tenant_name": tenant.display_name if tenant else "",
        },
        member_id=member_id,
        actor_id=actor.id,
        epoch=entry.epoch,
    )
    message_id = await queue(session, tenant_of(session), mail)
    written = DirectMessage(
        tenant_id=tenant_of(session),
        member_id=member_id,
        holder=entry.holder,
        author_id=actor.id,
        subject=subject,
        text=text,
        message_id=message_id,
    )
    session.add(written)
    await session.flush()
    note(session, actor, written, "notifier.direct_message.written", member_id=member_id)
    return written


type Written = tuple[DirectMessage, Message | None]


async def list_of_member(
    session: AsyncSession, member_id: UUID, *, after: UUID | None, limit: int
) -> Sequence[Written]:
    """Newest first (A-44), each with its mail. Raises NotFound."""
    await _get_entry(session, member_id)
    return await _list(session, DirectMessage.member_id == member_id, after=after, limit=limit)


async def list_own(session: AsyncSession, actor: Actor, *, after: UUID | None, limit: int) -> Sequence[Written]:
    """What the actor was sent as the present holder of her membership."""
    mine = (DirectMessage.member_id == actor.id) & (DirectMessage.holder == actor.holder)
    return await _list(session, mine, after=after, limit=limit)


async def _list(
    session: AsyncSession, whose: ColumnElement[bool], *, after: UUID | None, limit: int
) -> Sequence[Written]:
    query = (
        select(DirectMessage, Message)
        .outerjoin(Message, (Message.tenant_id == DirectMessage.tenant_id) & (Message.id == DirectMessage.message_id))
        .where(whose)
        .order_by(DirectMessage.id.desc())
        .limit(limit)
    )
    if after:
        query = query.where(DirectMessage.id < after)
    return [(row.DirectMessage, row.Message) for row in await session.execute(query)]


async def _way(session: AsyncSession, entry: Entry) -> Way:
    if entry.email_canonical is None:
        return "no_email"
    settings = await find_settings(session)
    if not may_get(overrides(settings), column(entry, now()), "transactional", "other"):
        return "state_forbids"
    listed = select(
        exists().where(
            Suppression.email_canonical == entry.email_canonical,
            Suppression.lifted_at.is_(None),
            Suppression.expires_at > now(),
        )
    )
    return "suppressed" if await session.scalar(listed) else "email"


async def _get_entry(session: AsyncSession, member_id: UUID) -> Entry:
    entry = await _find_entry(session, member_id)
    if entry is None or is_gone(entry):
        raise NotFound
    return entry


async def _find_entry(session: AsyncSession, member_id: UUID) -> Entry | None:
    """None also for one of whom no profile has come yet."""
    query = select(Entry).where(Entry.member_id == member_id).execution_options(populate_existing=True)
    entry = await session.scalar(query)
    return entry if entry is not None and entry.profile_version else None
