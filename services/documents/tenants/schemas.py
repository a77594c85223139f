from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from services.documents.tenants.rules import Visibility
from services.documents.tenants.tables import Policy

Bytes = Annotated[int, Meta(ge=0, le=2**53)]
Type = Annotated[str, Meta(max_length=120, pattern=r"^[a-z]+/([a-z0-9.+-]+)?$(?!\n)")]
Types = Annotated[list[Type], Meta(max_length=200)]
Visibilities = Annotated[list[Visibility], Meta(min_length=1, max_length=5)]


class PolicyOut(Struct):
    """forbidden_types and own_types: `image/png`, or `image/` for all images. own_types: what members without
    documents:write may file about themselves. bin_days 0: what is deleted is gone at once.
    """

    max_file_bytes: int
    tenant_quota_bytes: int
    uploader_quota_bytes: int
    forbidden_types: list[str]
    own_types: list[str]
    visibilities: list[str]
    bin_days: int
    version: int


class PolicyEdit(Struct, forbid_unknown_fields=True):
    uploader_quota_bytes: Bytes | UnsetType = UNSET
    forbidden_types: Types | UnsetType = UNSET
    own_types: Types | UnsetType = UNSET
    visibilities: Visibilities | UnsetType = UNSET
    bin_days: Annotated[int, Meta(ge=0, le=400)] | UnsetType = UNSET


class LimitsEdit(Struct, forbid_unknown_fields=True):
    """What an operator gives a tenant."""

    max_file_bytes: Bytes | UnsetType = UNSET
    tenant_quota_bytes: Bytes | UnsetType = UNSET


class LimitsOut(Struct):
    """used_bytes: of all documents, those in recycle bins included, and of announced uploads."""

    max_file_bytes: int
    tenant_quota_bytes: int
    used_bytes: int
    version: int


def policy_out(policy: Policy) -> PolicyOut:
    return PolicyOut(**{name: getattr(policy, name) for name in PolicyOut.__struct_fields__})
