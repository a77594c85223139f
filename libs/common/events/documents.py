"""What documents tells the others."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from libs.common.changes import Event


class MemberDocumentsErased(Event, frozen=True):
    """The answer to members.member.erasing.v1: what is gone, by kind."""

    name: ClassVar[str] = "documents.member.erased.v1"
    counter: ClassVar[str] = "erased_version"

    certificate_id: UUID
    counts: dict[str, int]


class DocumentAdded(Event, frozen=True):
    """A file was filed about a member. Who sees it is nobody else's business: neither name nor type is told."""

    name: ClassVar[str] = "documents.document.added.v1"

    member_id: UUID
    uploader_id: UUID


class DocumentRemoved(Event, frozen=True):
    """It is gone for good: by its uploader, by the clock of the recycle bin, or with the member."""

    name: ClassVar[str] = "documents.document.removed.v1"

    member_id: UUID
    uploader_id: UUID


class DocumentsOpened(Event, frozen=True):
    """Break-glass: somebody opened all documents about a member, until a time; their uploaders are to be told."""

    name: ClassVar[str] = "documents.opening.made.v1"

    member_id: UUID
    opened_by: UUID
    until: datetime
    uploader_ids: list[UUID]


class HandOverAsked(Event, frozen=True):
    """Somebody left documents behind: staff decide what becomes of them."""

    name: ClassVar[str] = "documents.hand_over.asked.v1"

    member_id: UUID
    holder: int
    documents: int


class HandOverSettled(Event, frozen=True):
    """choice withdrawn: she came back before anybody decided."""

    name: ClassVar[str] = "documents.hand_over.settled.v1"

    member_id: UUID
    holder: int
    choice: Literal["successor", "keep", "erase", "withdrawn"]
    successor_id: UUID | None
