from msgspec import Struct

from libs.common.text import Address, Line
from services.members.people.schemas import Hours, PresetsIn


class InviteIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """presets: in the place of those that were set before; without them the inviter stands for these."""

    invitation_hours: Hours | None = None
    presets: PresetsIn | None = None


class ReaddressIn(Struct, forbid_unknown_fields=True, kw_only=True):
    email: Address
    invitation_hours: Hours | None = None


class ReasonIn(Struct, forbid_unknown_fields=True, kw_only=True):
    reason: Line | None = None
