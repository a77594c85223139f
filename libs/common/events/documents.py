"""What documents tells the others."""

from typing import ClassVar
from uuid import UUID

from libs.common.changes import Event


class MemberDocumentsErased(Event, frozen=True):
    """The answer to members.member.erasing.v1: what is gone, by kind."""

    name: ClassVar[str] = "documents.member.erased.v1"
    counter: ClassVar[str] = "erased_version"

    certificate_id: UUID
    counts: dict[str, int]
