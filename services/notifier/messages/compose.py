"""From a stored body to the bytes of a mail (RFC 5322), by EmailMessage and Address only: no header is ever pasted."""

from datetime import datetime
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from services.notifier.mail_settings.brand import LOGO


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """recipient: as it is said to servers (deliverable). logo: type and data of a picture that the HTML names."""

    message_id: UUID
    created_at: datetime
    sender: str
    sender_name: str
    reply_to: str | None
    recipient: str
    locale: str
    subject: str
    text: str
    html: str
    logo: tuple[str, bytes] | None = None


def mail_id(message_id: UUID, sender: str) -> str:
    """The Message-ID: of the message, so the same on every try; a copy is a message of its own."""
    return f"<{message_id}@{sender.rpartition('@')[2]}>"


def deliverable(email: str, canonical: str) -> str:
    """The stored address with its domain in ASCII: what is said to servers."""
    return f"{email.rpartition('@')[0]}@{canonical.rpartition('@')[2]}"


class _Headers(HeaderRegistry):
    """The standard library's makes a class for each header of each mail; these are made once."""

    @cache  # noqa: B019 one registry, a dozen names
    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)


_HEADERS = _Headers()


def compose(draft: Draft) -> bytes:
    policy = (SMTP if draft.recipient.isascii() else SMTPUTF8).clone(header_factory=_HEADERS, cte_type="7bit")
    mail = EmailMessage(policy=policy)  # not every server takes eight bits
    mail["From"] = _address(draft.sender, _as_typed(draft.sender_name))
    mail["To"] = _address(draft.recipient)
    if draft.reply_to:
        mail["Reply-To"] = _address(draft.reply_to)
    mail["Subject"] = _as_typed(draft.subject)
    mail["Date"] = format_datetime(draft.created_at)
    mail["Message-ID"] = mail_id(draft.message_id, draft.sender)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: answering machines stay quiet
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(draft.text)
    mail.add_alternative(draft.html, subtype="html")
    if draft.logo:
        html = mail.get_payload()[1]  # type: ignore[index]
        kind, _, subtype = draft.logo[0].partition("/")
        html.add_related(draft.logo[1], kind, subtype, cid=f"<{LOGO}>", disposition="inline")  # type: ignore[union-attr]
    mail["Content-Language"] = draft.locale  # last: adding parts would move it into the first of them
    return mail.as_bytes()


def _address(address: str, name: str = "") -> Address:
    """By its parts: read from one text, Address takes none beyond ASCII."""
    local, _, domain = address.rpartition("@")
    return Address(name, username=local, domain=domain)


def _as_typed(text: str) -> str:
    """EmailMessage decodes what looks like an encoded word (RFC 2047), in which a name would hide what names may not
    hold.
    """
    return text.replace("=?", "= ?")
