"""What a list may be narrowed by, and the folded words that a search looks through."""

import hashlib
import unicodedata
from collections.abc import Iterable
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func

from services.documents.documents.tables import Document


class Filter(msgspec.Struct, frozen=True):
    """member_id: about her; without it: what the caller has uploaded. type: `image/png`, or `image/` for all images."""

    member_id: UUID | None = None
    type: str | None = None
    kind: str | None = None
    tag: str | None = None
    text: str | None = None
    bin: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.member_id is not None:
            found.append(Document.member_id == self.member_id)
        if self.type is not None:
            is_family = self.type.endswith("/")
            column = Document.content_type
            found.append(func.starts_with(column, self.type) if is_family else column == self.type)
        if self.kind is not None:
            found.append(Document.kind == self.kind)
        if self.tag is not None:
            found.append(Document.tags.contains([self.tag]))
        # A member has few documents: her index leads here, and the words of these are read one by one.
        found += [func.strpos(Document.words, word) > 0 for word in folded(self.text or "").split()]
        return found

    def name(self) -> str:
        """Of the list that this filter makes, for its cursors."""
        return "documents " + hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


def words_of(name: str, description: str | None, tags: Iterable[str]) -> str:
    return folded(" ".join([name, description or "", *tags]))


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
