from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from services.documents.documents.schemas import DocumentOut, FileIn

Sha256 = Annotated[
    str,
    Meta(
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 in hex",
        examples=["2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"],
    ),
]
State = Literal["open", "checking", "quarantined", "refused", "done"]
PartNumber = Annotated[int, Meta(ge=1, le=10_000)]


class UploadIn(FileIn, forbid_unknown_fields=True, kw_only=True):
    """What is to come. Its length and digest are announced, and must turn out true."""

    size: Annotated[int, Meta(ge=1, le=2**43)]
    sha256: Sha256


class PartIn(Struct, forbid_unknown_fields=True):
    number: PartNumber
    sha256: Sha256


class PartsIn(Struct, forbid_unknown_fields=True):
    parts: Annotated[list[PartIn], Meta(min_length=1, max_length=100)]


class SignedPartOut(Struct):
    """PUT the part's bytes to url with exactly these headers, begun before 60 seconds are over."""

    number: int
    size: int
    url: str
    headers: dict[str, str]


class SignedPartsOut(Struct):
    parts: list[SignedPartOut]


class UploadOut(Struct):
    """reason: why it is quarantined or was refused. received: numbers of the parts that are there."""

    id: UUID
    state: State
    reason: str
    member_id: UUID
    name: str
    size: int | None
    part_size: int | None
    received: list[int]
    document: DocumentOut | None
