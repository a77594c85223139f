from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from libs.common.text import Line, Text
from services.notifier.templates import rules
from services.notifier.templates.language import Kind
from services.notifier.templates.tables import TemplateVersion

Locale = Literal["de", "en"]


class TextIn(msgspec.Struct, forbid_unknown_fields=True):
    """subject and body in the language of templates (docs/users/templates.md); action_label: of the button."""

    subject: Line
    body: Text
    action_label: Line | None = None

    def text(self) -> rules.Text:
        return rules.Text(self.subject, self.body.replace("\r\n", "\n"), self.action_label or "")


class KindOut(msgspec.Struct):
    """One kind of mail in one language. number: of the version in use; 0 is the text that the product brings."""

    template: str
    locale: Locale
    title: str
    category: Literal["security", "transactional"]
    variables: dict[str, Kind]
    required: list[str]
    subject_variables: list[str]
    own_text: bool
    number: int


class VersionOut(msgspec.Struct):
    """number 0: shipped."""

    template: str
    locale: Locale
    number: int
    state: Literal["draft", "published", "retired", "shipped"]
    subject: str
    body: str
    action_label: str
    created_at: datetime | None = None
    created_by: UUID | None = None
    published_at: datetime | None = None
    published_by: UUID | None = None


class TestSentOut(msgspec.Struct):
    """The message in the mail log."""

    message_id: UUID


def shown(version: TemplateVersion) -> VersionOut:
    return VersionOut(
        template=version.template,
        locale=msgspec.convert(version.locale, Locale),
        number=version.number,
        state=msgspec.convert(version.state, Literal["draft", "published", "retired"]),
        subject=version.subject,
        body=version.body,
        action_label=version.action_label,
        created_at=version.created_at,
        created_by=version.created_by,
        published_at=version.published_at,
        published_by=version.published_by,
    )
