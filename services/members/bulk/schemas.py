from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from libs.common.text import Line
from services.members.people.listing import MemberFilter
from services.members.people.schemas import Hours, PresetsIn

MOST = 5_000
Ids = Annotated[list[UUID], Meta(min_length=1, max_length=MOST)]
JobState = Literal["running", "withdrawing", "withdrawn", "done", "stopped"]
ItemState = Literal["waiting", "queued_by_limit", "done", "refused", "withdrawn"]


class SelectionIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom: either ids or a filter, of the list's grammar."""

    ids: Ids | None = None
    filter: MemberFilter | None = None


class BulkInviteIn(SelectionIn, forbid_unknown_fields=True, kw_only=True):
    invitation_hours: Hours | None = None
    presets: PresetsIn | None = None


class BulkRevokeIn(SelectionIn, forbid_unknown_fields=True, kw_only=True):
    reason: Line | None = None


class JobOut(Struct):
    """queued_by_limit: waits for the tenant's invitation limit; next_at says until when."""

    id: UUID
    command: str
    state: JobState
    total: int
    counts: dict[ItemState, int]
    created_at: datetime
    next_at: datetime | None
    finished_at: datetime | None


class ItemOut(Struct):
    """code: of the problem that the command answered for this person."""

    position: int
    member_id: UUID
    state: ItemState
    code: str | None
    done_at: datetime | None
