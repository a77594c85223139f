"""Dates and times as people of a language write them, in their tenant's time zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from services.notifier.strings import words


class Local(msgspec.Struct, frozen=True):
    """A moment, and how its reader counts and writes it."""

    at: datetime
    zone: str
    locale: str

    def moment(self) -> datetime:
        return self.at.astimezone(ZoneInfo(self.zone))


def date(value: Local) -> str:
    """24. Dezember 2026, 24 December 2026"""
    moment, months = value.moment(), words(value.locale)["date.months"]
    dot = "." if value.locale == "de" else ""
    return f"{moment.day}{dot} {months.split()[moment.month - 1]} {moment.year}"


def time(value: Local) -> str:
    """17:05 CET; in German 17:05 Uhr (MEZ)."""
    moment = value.moment()
    zone = words(value.locale).get(f"zone.{moment:%Z}", f"{moment:%Z}")
    return f"{moment:%H:%M} Uhr ({zone})" if value.locale == "de" else f"{moment:%H:%M} {zone}"
