"""Times that people send: with an offset, kept in UTC."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from libs.common.errors import Malformed

Moment = Annotated[datetime, Meta(tz=True)]


def in_utc(moment: datetime | None, field: str) -> datetime | None:
    """Raises Malformed for a time that has no UTC form (the year 1, east of Greenwich)."""
    try:
        return moment.astimezone(UTC) if moment is not None else None
    except (OverflowError, ValueError) as error:
        raise Malformed(field=field) from error
