"""A text as its reader would see it, with sample data; and the same as a mail to whoever writes it."""

from uuid import uuid4

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.errors import Conflict
from libs.common.tokens import Actor
from services.notifier.address_book.rules import find_entry
from services.notifier.mail_settings.brand import brand
from services.notifier.mail_settings.rules import find_settings, sender_name_of
from services.notifier.messages.queueing import Mail, queue
from services.notifier.messages.tables import Body, Message
from services.notifier.tables import tenant_of
from services.notifier.templates import layout
from services.notifier.templates.catalog import KINDS, Source, sample
from services.notifier.templates.writing import write
from services.notifier.tenants.rules import find_tenant

CAUSE = "notifier.template.tested.v1"


class CallerHasNoAddress(Conflict):
    title = "A test mail goes to your own address, and you have none"


class Preview(msgspec.Struct, frozen=True):
    """As it would be sent; the link leads nowhere."""

    sender_name: str
    reply_to: str | None
    subject: str
    text: str
    html: str


async def preview(
    session: AsyncSession, *, kind: str, locale: str, source: Source, public_url: str, sender: str
) -> Preview:
    """The source is sound (rules.require_text)."""
    tenant, settings = await find_tenant(session, tenant_of(session)), await find_settings(session)
    written = write(
        KINDS[kind],
        source,
        sample(KINDS[kind], locale),
        locale=locale,
        zone=tenant.time_zone if tenant else "UTC",
    )
    laid = layout.lay_out(
        brand(tenant, settings, sender, locale),
        locale,
        subject=written.subject,
        body=written.body,
        action_label=source.action_label,
        url=f"{public_url.rstrip('/')}/…" if "action" in KINDS[kind].variables else None,
    )
    return Preview(
        sender_name=sender_name_of(settings, locale),
        reply_to=settings.reply_to if settings else None,
        subject=written.subject,
        text=laid.text,
        html=laid.html,
    )


async def send_test(
    session: AsyncSession, actor: Actor, *, kind: str, locale: str, source: Source, public_url: str, sender: str
) -> Message:
    """To the caller's own address and to nobody else's. Raises CallerHasNoAddress."""
    entry = await find_entry(session, actor.id)
    if entry is None or entry.email is None:
        raise CallerHasNoAddress
    seen = await preview(session, kind=kind, locale=locale, source=source, public_url=public_url, sender=sender)
    mail = Mail(
        template="template_test",
        cause_id=uuid4(),
        cause_type=CAUSE,
        email=entry.email,
        locale=locale,
        data={"template": kind},
        member_id=actor.id,
        actor_id=actor.id,
        epoch=entry.epoch,
    )
    message_id = await queue(session, tenant_of(session), mail)
    message = (await session.scalars(select(Message).where(Message.id == message_id))).one()
    settings = await find_settings(session)
    session.add(
        Body(
            tenant_id=message.tenant_id,
            message_id=message.id,
            sender_name=seen.sender_name,
            reply_to=seen.reply_to,
            subject=f"[Test] {seen.subject}",
            text=seen.text,
            html=seen.html,
            logo_id=settings.logo_id if settings else None,
        )
    )
    note(session, actor, message, "notifier.template.tested", template=kind, locale=locale)
    return message
