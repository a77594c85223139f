"""A message's body: written once, at its first try, and kept as it was sent but for the link's code (R-07, R-12)."""

from jinja2.exceptions import TemplateError
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.mail_settings.brand import brand
from services.notifier.mail_settings.rules import find_settings, sender_name_of
from services.notifier.messages.compose import Draft
from services.notifier.messages.house import House
from services.notifier.messages.tables import Body, Message
from services.notifier.templates import layout
from services.notifier.templates.catalog import KINDS
from services.notifier.templates.language import RenderingTooLarge
from services.notifier.templates.published import published_source
from services.notifier.templates.writing import write
from services.notifier.tenants.rules import find_tenant


class NotRendered(Exception):
    """A text that was checked when it was saved cannot be rendered all the same: our mistake."""


async def write_body(session: AsyncSession, message: Message, house: House) -> Body:
    """Added to the session, with the template's version noted on the message. Raises NotRendered."""
    tenant = await find_tenant(session, message.tenant_id)
    settings = await find_settings(session)
    source = await published_source(session, message.template, message.locale)
    zone = tenant.time_zone if tenant else "UTC"
    try:
        written = write(KINDS[message.template], source, message.data, locale=message.locale, zone=zone)
    except (TemplateError, RenderingTooLarge, ValueError, TypeError) as error:
        raise NotRendered(message.template) from error
    laid = layout.lay_out(
        brand(tenant, settings, house.mail_from, message.locale),
        message.locale,
        subject=written.subject,
        body=written.body,
        action_label=source.action_label,
        url=house.url(message),
    )
    body = Body(
        tenant_id=message.tenant_id,
        message_id=message.id,
        sender_name=sender_name_of(settings, message.locale),
        reply_to=settings.reply_to if settings else None,
        subject=written.subject,
        text=laid.text,
        html=laid.html,
        logo_id=settings.logo_id if settings else None,
    )
    session.add(body)
    message.template_version = source.version
    return body


def draft_of(message: Message, body: Body, logo: tuple[str, bytes] | None, house: House) -> Draft:
    """With the link's code in its place: from here on it must not be written down."""
    return Draft(
        message_id=message.id,
        created_at=message.created_at,
        sender=house.mail_from,
        sender_name=body.sender_name,
        reply_to=body.reply_to,
        recipient=message.email,
        locale=message.locale,
        subject=body.subject,
        text=house.fill(message, body.text),
        html=house.fill(message, body.html),
        logo=logo,
    )
