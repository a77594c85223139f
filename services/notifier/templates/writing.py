"""From a source and values to the words of a mail. Names lose what could become a link; no value is markup."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from libs.common.text import plain_name
from services.notifier.templates import dates, language, layout
from services.notifier.templates.catalog import MailKind, Source


class Written(msgspec.Struct, frozen=True):
    """body still holds layout.ACTION where the action goes."""

    subject: str
    body: str


def write(kind: MailKind, source: Source, data: Mapping[str, object], *, locale: str, zone: str) -> Written:
    """data: a value for every variable of the kind but the action. Raises RenderingTooLarge."""
    values = {name: _value(kind, name, data, locale, zone) for name in kind.variables}
    return Written(
        subject=" ".join(language.render(source.subject, values).split()), body=language.render(source.body, values)
    )


def _value(kind: MailKind, name: str, data: Mapping[str, object], locale: str, zone: str) -> object:
    value = data.get(name)
    match kind.variables[name]:
        case "action":
            return layout.ACTION
        case "time":
            return dates.Local(msgspec.convert(value, datetime), zone, locale)
        case "list":
            return [_clean(str(item)) for item in value] if isinstance(value, list) else []
        case "name":
            return plain_name(str(value or ""))
        case _:
            return _clean(str(value or ""))


def _clean(text: str) -> str:
    return text.translate({0xE000: None, 0xE001: None})
