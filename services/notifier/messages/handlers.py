"""Which events cause a mail, and which take the reason for one away."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.identity import (
    InvitationEnded,
    InvitationIssued,
    MembershipEnded,
    PasswordChanged,
    PasswordResetAsked,
)
from libs.common.events.members import MemberErased
from libs.common.events.subjects import SERVICES
from libs.common.inlets import Received, caused_by
from libs.common.links import Purpose
from services.notifier.address_book import rules as address_book
from services.notifier.address_book.tables import Entry, Invitation
from services.notifier.messages.moves import Step, move
from services.notifier.messages.notices import mail_member
from services.notifier.messages.queueing import Link, Mail, announce, queue, queue_all
from services.notifier.messages.states import WAITING
from services.notifier.messages.tables import Message
from services.notifier.strings import words
from services.notifier.tenants import rules as tenants
from services.notifier.tenants.tables import Tenant


async def mail_invitations(session: AsyncSession, events: Sequence[Received[InvitationIssued]]) -> None:
    """A mail is queued even where its link is dead already: the sender sees that and says so."""
    tenant_id = events[0].tenant_id
    entries = await address_book.find_entries(session, [event.data.member_id for event in events])
    causes = {event.id: event for event in events if not address_book.is_gone(entries.get(event.data.member_id))}
    if not causes:
        return
    tenant = await tenants.find_tenant(session, tenant_id)
    issued = [_seen(event.data, generation=event.data.generation) for event in causes.values()]
    await _note_invitations(session, tenant_id, issued)
    mails = [_invitation_mail(event, tenant, entries.get(event.data.member_id)) for event in causes.values()]
    for message in await queue_all(session, tenant_id, mails):
        with caused_by(causes[message.cause_id]):
            announce(session, message)


def _invitation_mail(event: Received[InvitationIssued], tenant: Tenant | None, entry: Entry | None) -> Mail:
    data = event.data
    wanted = data.locale, entry.locale if entry else None, tenant.locale if tenant else None
    return Mail(
        template="invitation",
        cause_id=event.id,
        cause_type=data.type(),
        email=data.email,
        locale=tenants.choose_locale(event.tenant_id, *wanted),
        data={"name": data.display_name, "tenant_name": data.tenant_name, "deadline": data.deadline},
        member_id=data.member_id,
        link=Link(Purpose.INVITATION, data.invitation_id, data.generation, data.deadline, f"t/{data.slug}/invitation"),
        epoch=data.epoch,
    )


async def withdraw_invitation(session: AsyncSession, event: Received[InvitationEnded]) -> None:
    """What is still queued of the ended generation, or an older one, is not sent any more."""
    data = event.data
    seen = _seen(data, ended_generation=data.generation, ended_reason=data.reason)
    await _note_invitations(session, event.tenant_id, [seen])
    waiting = select(Message).where(
        Message.link_id == data.invitation_id, Message.generation <= data.generation, Message.state.in_(WAITING)
    )
    for message in await session.scalars(waiting.with_for_update()):
        await move(session, message, Step(state="cancelled", reason=data.reason))


async def mail_password_reset(session: AsyncSession, event: Received[PasswordResetAsked]) -> None:
    data = event.data
    page = f"t/{data.slug}/password" if data.slug else "password"
    mail = Mail(
        template="password_reset",
        cause_id=event.id,
        cause_type=data.type(),
        email=data.email,
        locale=await tenants.locale_for(session, event.tenant_id, data.locale),
        data={"name": data.display_name, "deadline": data.deadline},
        link=Link(Purpose.PASSWORD_RESET, data.person_id, data.generation, data.deadline, page),
    )
    await queue(session, event.tenant_id, mail)


async def mail_password_changed(session: AsyncSession, event: Received[PasswordChanged]) -> None:
    data = event.data
    mail = Mail(
        template="password_changed",
        cause_id=event.id,
        cause_type=data.type(),
        email=data.email,
        locale=await tenants.locale_for(session, event.tenant_id, data.locale),
        data={"name": data.display_name, "at": event.time},
    )
    await queue(session, event.tenant_id, mail)


async def mail_access_removed(session: AsyncSession, event: Received[MembershipEnded]) -> None:
    await mail_member(session, event, "access_removed", event.data.member_id)


async def mail_member_erased(session: AsyncSession, event: Received[MemberErased]) -> None:
    """B-30: who asked for an erasure hears that it is done."""
    asker = event.data.requested_by
    if asker is None:
        return
    entry = await address_book.find_entry(session, asker)
    locale = await tenants.locale_for(session, event.tenant_id, entry.locale if entry else None)
    services = [words(locale)[f"service.{name}"] for name in SERVICES]
    certificate = str(event.data.certificate_id)
    await mail_member(session, event, "member_erased", asker, certificate=certificate, services=services)


def _seen(data: InvitationIssued | InvitationEnded, **seen: int | str) -> dict[str, Any]:
    return {"id": data.invitation_id, "member_id": data.member_id, **seen}


async def _note_invitations(session: AsyncSession, tenant_id: UUID, seen: Sequence[Mapping[str, Any]]) -> None:
    """Counters only rise, in whatever order the events come."""
    new = insert(Invitation)
    higher: dict[str, Any] = {
        name: func.greatest(getattr(Invitation, name), new.excluded[name])
        for name in ("generation", "ended_generation")
        if name in seen[0]
    }
    if "ended_reason" in seen[0]:
        higher["ended_reason"] = case(
            (new.excluded.ended_generation >= Invitation.ended_generation, new.excluded.ended_reason),
            else_=Invitation.ended_reason,
        )
    await session.execute(
        new.on_conflict_do_update(index_elements=["tenant_id", "id"], set_=higher),
        [{"tenant_id": tenant_id, **one} for one in sorted(seen, key=itemgetter("id"))],
    )
