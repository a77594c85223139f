"""What is the same for all mails of this installation."""

import msgspec

from libs.common.links import Links, Purpose
from services.notifier.messages.tables import Message
from services.notifier.templates.layout import CODE


class House(msgspec.Struct, frozen=True):
    """mail_from: the one sender address. relay_host: shown in the log."""

    public_url: str
    mail_from: str
    links: Links
    relay_host: str = ""

    def url(self, message: Message) -> str | None:
        """The mail's link as it is stored: with CODE in place of the code."""
        return f"{self.public_url.rstrip('/')}/{message.link_path}/{CODE}" if message.link_path else None

    def code(self, message: Message) -> str:
        """Derived anew: it stands nowhere but in the mail itself (R-07). Empty where there is no link."""
        if message.link_id is None or message.link_purpose is None:
            return ""
        return self.links.make_code(
            Purpose(message.link_purpose),
            tenant_id=message.tenant_id,
            id=message.link_id,
            generation=message.generation or 0,
            address=message.email,
            deadline=message.link_deadline,
        )
