"""What may happen to documents once they are there. Every select goes through visibility.py."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import Audit, note
from libs.common.db import now
from libs.common.errors import Forbidden, NotFound, Outdated, Unprocessable
from libs.common.permissions import Permission
from libs.common.tokens import Actor
from services.documents.documents.search import Filter, words_of
from services.documents.documents.tables import Document
from services.documents.documents.visibility import binned, changeable, mine, visible
from services.documents.erasures.rules import remove
from services.documents.names import safe_name
from services.documents.people.rules import is_group
from services.documents.tenants.rules import get_policy
from services.documents.tenants.tables import Policy


class VisibilityNotAllowed(Unprocessable):
    title = "This tenant does not allow documents to be shown to others in this way"


class GroupNotKnown(Unprocessable):
    title = "Name a group that has members, for the visibility `group` and for no other"


async def list_documents(
    session: AsyncSession, actor: Actor, wanted: Filter, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Document]:
    """Newest first; after is the time and id of the last one seen."""
    query = select(Document).where(*seen(actor, wanted))
    if after:
        query = query.where(tuple_(Document.created_at, Document.id) < tuple_(*after))
    query = query.order_by(Document.created_at.desc(), Document.id.desc()).limit(limit)
    return (await session.scalars(query)).all()


async def find_document(session: AsyncSession, actor: Actor, document_id: UUID) -> Document | None:
    return await session.scalar(select(Document).where(Document.id == document_id, visible(actor)))


async def get_document(session: AsyncSession, actor: Actor, document_id: UUID) -> Document:
    """Raises NotFound for what is not there and for what the actor may not see."""
    document = await find_document(session, actor, document_id)
    if document is None:
        raise NotFound
    return document


async def edit_document(
    session: AsyncSession, actor: Actor, document_id: UUID, *, version: int, **fields: object
) -> Document:
    """Name, description, tags, visibility, group_id, valid_until: those given. Raises NotFound, Forbidden, Outdated,
    VisibilityNotAllowed, GroupNotKnown.
    """
    document = await _get_changeable(session, actor, document_id, version)
    if "name" in fields:
        fields["name"] = safe_name(str(fields["name"]))
    changed = sorted(name for name, value in fields.items() if getattr(document, name) != value)
    if not changed:
        return document
    for name in changed:
        setattr(document, name, fields[name])
    if {"visibility", "group_id"} & set(changed):
        if (document.uploader_id, document.uploader_holder) != (actor.id, actor.holder):
            raise Forbidden  # who sees it, says who uploaded it (T-06)
        policy = await get_policy(session, document.tenant_id)
        await require_showable(session, policy, document.visibility, document.group_id)
    document.words = words_of(document.name, document.description, document.tags)
    document.version += 1
    await session.flush()
    # Which fields, not what stands in them: whoever reads the audit must not learn what a private document is.
    note(session, actor, document, "documents.document.edited", changed=changed)
    return document


async def bin_document(session: AsyncSession, actor: Actor, document_id: UUID, *, version: int) -> None:
    """Into the uploader's recycle bin; gone at once where the tenant keeps none."""
    document = await _get_changeable(session, actor, document_id, version)
    policy = await get_policy(session, document.tenant_id)
    if policy.bin_days == 0:
        await remove(session, actor, [document])
        return
    document.deleted_at = now()
    document.purge_at = document.deleted_at + timedelta(days=policy.bin_days)
    document.version += 1
    await session.flush()
    note(session, actor, document, "documents.document.binned", restorable_until=document.purge_at)


async def restore_document(session: AsyncSession, actor: Actor, document_id: UUID) -> Document:
    """Raises NotFound where it is not in the actor's bin, or its time is over."""
    document = await _get_binned(session, actor, document_id)
    if document.purge_at is None or document.purge_at <= now():
        raise NotFound
    document.deleted_at = document.purge_at = None
    document.version += 1
    await session.flush()
    note(session, actor, document, "documents.document.restored")
    return document


async def erase_document(session: AsyncSession, actor: Actor, document_id: UUID) -> None:
    await remove(session, actor, [await _get_binned(session, actor, document_id)])


async def list_history(
    session: AsyncSession, actor: Actor, document_id: UUID, *, before: UUID | None, limit: int
) -> Sequence[Audit]:
    """Who did what with it, newest first: for its uploader, also when it lies in the bin."""
    found = await session.scalar(select(Document.id).where(Document.id == document_id, mine(actor)))
    if found is None:
        raise NotFound
    query = select(Audit).where(Audit.row_id == document_id).order_by(Audit.id.desc()).limit(limit)
    return (await session.scalars(query.where(Audit.id < before) if before else query)).all()


async def require_showable(session: AsyncSession, policy: Policy, visibility: str, group_id: UUID | None) -> None:
    """Raises VisibilityNotAllowed, GroupNotKnown."""
    if visibility not in policy.visibilities:
        raise VisibilityNotAllowed(allowed=policy.visibilities)
    if (visibility == "group") != (group_id is not None) or (group_id and not await is_group(session, group_id)):
        raise GroupNotKnown(field="group_id")


def seen(actor: Actor, wanted: Filter) -> list[ColumnElement[bool]]:
    """The conditions of a list: what the actor may see, narrowed."""
    if wanted.bin:
        return [binned(actor), *wanted.conditions()]
    own = [] if wanted.member_id is not None else [mine(actor)]
    return [visible(actor), *own, *wanted.conditions()]


async def _get_changeable(session: AsyncSession, actor: Actor, document_id: UUID, version: int) -> Document:
    document = await get_document(session, actor, document_id)
    locked = await session.scalar(
        select(Document)
        .where(Document.id == document_id, changeable(actor))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if locked is None:
        raise Forbidden(permission=Permission.DOCUMENTS_WRITE)
    if document.version != version:
        raise Outdated(version=document.version)
    return document


async def _get_binned(session: AsyncSession, actor: Actor, document_id: UUID) -> Document:
    document = await session.scalar(select(Document).where(Document.id == document_id, binned(actor)).with_for_update())
    if document is None:
        raise NotFound
    return document
