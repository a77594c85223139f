"""A tenant's policy, and how much room is left. Sums are taken from the rows themselves, so that they cannot drift."""

from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.errors import Conflict, Outdated, TooLarge
from libs.common.tokens import Actor
from services.documents.documents.tables import Document
from services.documents.tenants.tables import Policy
from services.documents.uploads.content_types import FORBIDDEN
from services.documents.uploads.tables import Upload

Visibility = Literal["private", "own_or_admin", "staff", "subject", "group"]

GIBIBYTE = 1024**3
UNDER_WAY = ("open", "checking", "quarantined")


class FileTooLarge(TooLarge):
    title = "The file is larger than this tenant allows"


class UploaderQuotaExceeded(Conflict):
    title = "Your share of the storage is full"


class TenantQuotaExceeded(Conflict):
    title = "The tenant's storage is full"


class Usage(msgspec.Struct):
    """In bytes; see used_bytes."""

    mine: int
    my_quota: int
    tenant: int
    tenant_quota: int


def tenant_of(actor: Actor) -> UUID:
    assert actor.tenant_id is not None  # noqa: S101 the guard lets operators in only where a path names the tenant
    return actor.tenant_id


def default_policy(tenant_id: UUID) -> Policy:
    return Policy(
        tenant_id=tenant_id,
        id=tenant_id,
        version=0,
        max_file_bytes=5 * GIBIBYTE,
        tenant_quota_bytes=100 * GIBIBYTE,
        uploader_quota_bytes=20 * GIBIBYTE,
        forbidden_types=list(FORBIDDEN),
        own_types=[],
        visibilities=["private"],
        bin_days=30,
    )


async def get_policy(session: AsyncSession, tenant_id: UUID) -> Policy:
    """Version 0 for a tenant that has changed nothing."""
    return await session.get(Policy, (tenant_id, tenant_id)) or default_policy(tenant_id)


async def edit_policy(
    session: AsyncSession, actor: Actor, tenant_id: UUID, *, version: int, **fields: object
) -> Policy:
    """Only the fields given. Raises Outdated."""
    policy = await session.get(Policy, (tenant_id, tenant_id), with_for_update=True) or default_policy(tenant_id)
    if policy.version != version:
        raise Outdated(version=policy.version)
    before = {name: getattr(policy, name) for name, value in fields.items() if getattr(policy, name) != value}
    if not before:
        return policy
    for name, value in fields.items():
        setattr(policy, name, value)
    policy.version += 1
    session.add(policy)
    try:
        await session.flush()
    except IntegrityError as error:  # two made the first row
        raise Outdated(version=1) from error
    note(
        session, actor, policy, "documents.policy.changed", before=before, after={name: fields[name] for name in before}
    )
    return policy


async def usage(session: AsyncSession, actor: Actor, policy: Policy) -> Usage:
    mine = await used_bytes(session, actor.id)
    return Usage(mine, policy.uploader_quota_bytes, await used_bytes(session), policy.tenant_quota_bytes)


async def lock_room(session: AsyncSession, tenant_id: UUID) -> None:
    """Taken before any upload's row is locked, where both are needed."""
    key = {"tenant": str(tenant_id)}
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant, 4300))"), key)


async def require_room(session: AsyncSession, policy: Policy, uploader_id: UUID, size: int = 0) -> int:
    """The most bytes that one more file may have, `size` at least. Raises FileTooLarge, UploaderQuotaExceeded,
    TenantQuotaExceeded. Until the transaction ends nobody else in the tenant takes room, so never two the last of it.
    """
    if size > policy.max_file_bytes:
        raise FileTooLarge(most=policy.max_file_bytes)
    await lock_room(session, policy.id)
    mine, all_ = await used_bytes(session, uploader_id), await used_bytes(session)
    if mine + size > policy.uploader_quota_bytes:
        raise UploaderQuotaExceeded(used=mine, quota=policy.uploader_quota_bytes)
    if all_ + size > policy.tenant_quota_bytes:
        raise TenantQuotaExceeded(used=all_, quota=policy.tenant_quota_bytes)
    return min(policy.max_file_bytes, policy.uploader_quota_bytes - mine, policy.tenant_quota_bytes - all_)


async def used_bytes(session: AsyncSession, uploader_id: UUID | None = None) -> int:
    """Of all uploaders, or of one: documents, those in the recycle bin included, and announced uploads."""
    stored, coming = func.sum(Document.size), func.sum(Upload.size)
    documents, uploads = select(stored), select(coming).where(Upload.state.in_(UNDER_WAY))
    if uploader_id is not None:
        documents = documents.where(Document.uploader_id == uploader_id)
        uploads = uploads.where(Upload.uploader_id == uploader_id)
    found = await session.execute(
        select(func.coalesce(documents.scalar_subquery(), 0) + func.coalesce(uploads.scalar_subquery(), 0))
    )
    return int(found.scalar_one())
