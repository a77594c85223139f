from msgspec import Struct

from libs.common.text import Line
from services.members.moments import Moment


class LockIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """Without `until` for good."""

    until: Moment | None = None
    reason: Line | None = None


class DatesIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """Entry and expiry; null: none. She is inside from the entry on and up to the expiry."""

    starts_at: Moment | None
    ends_at: Moment | None
