"""A message's body: written once, at its first try, and kept as it was sent but for the link's code (R-07, R-12)."""

from jinja2.exceptions import TemplateError

from services.notifier.mail_settings.brand import brand
from services.notifier.mail_settings.rules import sender_name_of
from services.notifier.messages.compose import Draft, deliverable
from services.notifier.messages.facts import Held
from services.notifier.messages.house import House
from services.notifier.messages.tables import Body, Message
from services.notifier.templates import layout
from services.notifier.templates.catalog import KINDS, Source
from services.notifier.templates.language import RenderingTooLarge
from services.notifier.templates.writing import write


class NotRendered(Exception):
    """A text that was checked when it was saved cannot be rendered all the same: our mistake."""


def write_body(held: Held, source: Source, house: House) -> Body:
    """Raises NotRendered."""
    message, tenant, settings = held.message, held.tenant, held.settings
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
    return Body(
        tenant_id=message.tenant_id,
        message_id=message.id,
        sender_name=sender_name_of(settings, message.locale),
        reply_to=settings.reply_to if settings else None,
        subject=written.subject,
        text=laid.text,
        html=laid.html,
        logo_id=settings.logo_id if settings else None,
    )


def draft_of(message: Message, body: Body, logo: tuple[str, bytes] | None, house: House) -> Draft:
    """With the link's code in its place: from here on it must not be written down."""
    code = house.code(message)
    return Draft(
        message_id=message.id,
        created_at=message.created_at,
        sender=house.mail_from,
        sender_name=body.sender_name,
        reply_to=body.reply_to,
        recipient=deliverable(message.email, message.email_canonical),
        locale=message.locale,
        subject=body.subject,
        text=body.text.replace(layout.CODE, code),
        html=body.html.replace(layout.CODE, code),
        logo=logo,
    )
