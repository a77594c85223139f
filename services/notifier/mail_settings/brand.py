"""How a tenant's mails look: her own settings, else what members says of the tenant, else the product's."""

from libs.common.text import plain_name
from services.notifier.mail_settings.tables import MailSettings
from services.notifier.strings import words
from services.notifier.templates.layout import DEFAULT_COLOUR, Brand
from services.notifier.tenants.tables import Tenant

LOGO = "logo"
"""The content id by which the HTML names the picture that comes with it."""


def brand(tenant: Tenant | None, settings: MailSettings | None, sender: str, locale: str) -> Brand:
    product = words(locale)["layout.product"]
    return Brand(
        title=(plain_name(tenant.display_name) if tenant else "") or product,
        sender=sender,
        colour=(settings and settings.colour) or (tenant and tenant.colour) or DEFAULT_COLOUR,
        logo=LOGO if settings and settings.logo_id else None,
        imprint_url=tenant.imprint_url if tenant else None,
        privacy_url=tenant.privacy_url if tenant else None,
    )
