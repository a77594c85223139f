from datetime import date, datetime
from typing import Annotated, Literal, cast
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from libs.common.text import Line, Text
from services.documents.documents.tables import Document
from services.documents.tenants.rules import Visibility

Kind = Literal["file", "certificate", "record"]
Tags = Annotated[list[Line], Meta(max_length=20)]


class FileIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """About whom, under which name, for whose eyes. A record stays when the member is anonymised, all else goes."""

    member_id: UUID
    name: Line
    visibility: Visibility = "private"
    group_id: UUID | None = None
    kind: Kind = "file"
    description: Text | None = None
    tags: Tags = []
    valid_until: date | None = None


class DocumentEdit(Struct, forbid_unknown_fields=True):
    name: Line | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET
    group_id: UUID | UnsetType | None = UNSET
    valid_until: date | UnsetType | None = UNSET


class DocumentOut(Struct):
    """lost: the store has no such file any more. restorable_until: it lies in the recycle bin."""

    id: UUID
    member_id: UUID
    uploader_id: UUID
    name: str
    description: str | None
    tags: list[str]
    kind: Kind
    visibility: Visibility
    group_id: UUID | None
    valid_until: date | None
    content_type: str
    size: int
    sha256: str
    uploaded_at: datetime
    restorable_until: datetime | None
    lost: bool
    version: int


class HistoryEntry(Struct):
    """details: what changed, or the reason that somebody gave."""

    id: UUID
    at: datetime
    fact: str
    actor_kind: str
    actor_id: UUID
    details: dict[str, object] | None


def document_out(document: Document) -> DocumentOut:
    return DocumentOut(
        id=document.id,
        member_id=document.member_id,
        uploader_id=document.uploader_id,
        name=document.name,
        description=document.description,
        tags=document.tags,
        kind=cast(Kind, document.kind),
        visibility=cast(Visibility, document.visibility),
        group_id=document.group_id,
        valid_until=document.valid_until,
        content_type=document.content_type,
        size=document.size,
        sha256=document.sha256.hex(),
        uploaded_at=document.created_at,
        restorable_until=document.purge_at,
        lost=document.lost_at is not None,
        version=document.version,
    )
