"""What may be uploaded by whom, and how an upload becomes a document: each step a short transaction, none while bytes
move. A try is known by its object id; whoever finishes with another one than the row has is too late.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note, record
from libs.common.db import now
from libs.common.errors import AppError, Conflict, Forbidden, NotFound, TooMany
from libs.common.events.documents import DocumentAdded
from libs.common.idempotency import IdempotencyKeyReused
from libs.common.permissions import Permission
from libs.common.tokens import Actor
from services.documents.documents.rules import require_showable
from services.documents.documents.schemas import FileIn
from services.documents.documents.search import words_of
from services.documents.documents.tables import Document
from services.documents.erasures.rules import delete_object
from services.documents.erasures.tables import Deletion
from services.documents.hand_overs.rules import review
from services.documents.names import safe_name
from services.documents.people.rules import GONE, MemberGone, get_member, require_present
from services.documents.people.tables import Member
from services.documents.store import part_size_for
from services.documents.tenants.rules import (
    UNDER_WAY,
    TenantQuotaExceeded,
    UploaderQuotaExceeded,
    get_policy,
    lock_room,
    require_room,
    tenant_of,
)
from services.documents.tenants.tables import Policy
from services.documents.uploads.inspection import Report
from services.documents.uploads.refusals import FileVanished, refusal
from services.documents.uploads.tables import Upload

AT_ONCE = 50
ABANDONED = timedelta(hours=24)
REMEMBERED = timedelta(hours=24)
LOOK_AGAIN = timedelta(seconds=30)


class TooManyUploads(TooMany):
    title = "You have too many unfinished uploads; finish or give up some"


class UploadSuperseded(Conflict):
    """Committed: the object of the late one is given up."""

    keep = True
    title = "Another try of this upload has taken over, or it was given up"


class UploadNotOpen(Conflict):
    title = "This upload takes no more bytes"


async def admit(
    session: AsyncSession,
    actor: Actor,
    about: FileIn,
    *,
    size: int | None = None,
    sha256: bytes | None = None,
    request_key: str | None = None,
) -> tuple[Upload, int]:
    """A new upload, or the one that the same key began before; and the most bytes that it may have.

    size: as announced; None where it is not known before the end.
    """
    policy = await get_policy(session, tenant_of(actor))
    if earlier := await _begun_before(session, actor, about, request_key):
        return earlier, policy.max_file_bytes
    member = await get_member(session, about.member_id)
    require_present(member)
    only_types = _types_for(actor, about.member_id, policy)
    await require_showable(session, policy, about.visibility, about.group_id)
    most = await require_room(session, policy, actor.id, size or 0)
    if earlier := await _begun_before(session, actor, about, request_key):  # by a request that held the room's lock
        return earlier, policy.max_file_bytes
    waiting = select(func.count()).where(Upload.uploader_id == actor.id, Upload.state == "open")
    if (await session.scalar(waiting) or 0) >= AT_ONCE:
        raise TooManyUploads(retry_after=60)
    upload = Upload(
        tenant_id=tenant_of(actor),
        request_key=request_key,
        uploader_id=actor.id,
        uploader_holder=actor.holder,
        member_id=member.id,
        visibility=about.visibility,
        group_id=about.group_id,
        kind=about.kind,
        name=safe_name(about.name),
        description=about.description,
        tags=about.tags,
        valid_until=about.valid_until,
        only_types=only_types,
        size=size,
        sha256=sha256,
        object_id=None,
        multipart_id=None,
        state="open",
        reason="",
        due_at=now() + ABANDONED,
    )
    session.add(upload)
    await session.flush()
    return upload, size if size is not None else most


async def get_upload(session: AsyncSession, actor: Actor, upload_id: UUID, *, lock: bool = False) -> Upload:
    """The actor's own. Raises NotFound."""
    query = select(Upload).where(
        Upload.id == upload_id, Upload.uploader_id == actor.id, Upload.uploader_holder == actor.holder
    )
    upload = await session.scalar(query.with_for_update() if lock else query)
    if upload is None:
        raise NotFound
    return upload


async def list_uploads(session: AsyncSession, actor: Actor, *, before: UUID | None, limit: int) -> Sequence[Upload]:
    """The actor's own that are under way, or ended lately; newest first."""
    query = select(Upload).where(Upload.uploader_id == actor.id, Upload.uploader_holder == actor.holder)
    query = query.order_by(Upload.id.desc()).limit(limit)
    return (await session.scalars(query.where(Upload.id < before) if before else query)).all()


async def begin_try(session: AsyncSession, upload: Upload) -> bool:
    """Take a locked or new upload over for all its bytes, from whoever tried before. False: it takes no more."""
    if upload.state != "open":
        return False
    delete_object(session, upload)
    upload.object_id, upload.multipart_id = uuid4(), None
    upload.due_at = now() + ABANDONED
    return True


async def end_try(session: AsyncSession, upload: Upload, *, forget: bool) -> None:
    """It failed: what is in the store goes, and the upload too where nobody could take it up again."""
    current = await _locked(session, upload.id)
    if current is None or current.object_id != upload.object_id or current.state != "open":
        return
    delete_object(session, current)
    current.object_id = current.multipart_id = None
    if forget:
        await session.delete(current)


async def note_multipart(session: AsyncSession, upload: Upload, multipart_id: str) -> str:
    """Remember what was begun in the store, so that it is cleared away should we die; gives what another request has
    begun for the same try before. Raises UploadSuperseded.
    """
    current = await _locked(session, upload.id)
    if current is None or current.object_id != upload.object_id or current.state != "open":
        session.add(_late(upload, multipart_id))
        raise UploadSuperseded
    current.multipart_id = current.multipart_id or multipart_id
    return current.multipart_id


async def mark_stored(session: AsyncSession, upload: Upload, patience: timedelta) -> bool:
    """All bytes are in the store. After `patience` somebody else may check them. False: somebody was faster."""
    current = await _locked(session, upload.id)
    if current is None or current.object_id != upload.object_id or current.state != "open":
        return False
    current.state, current.due_at = "checking", now() + patience
    return True


async def claim_check(session: AsyncSession, tenant_id: UUID, upload_id: UUID) -> Upload | None:
    """None: it is done, or somebody is at it."""
    upload = await session.get(Upload, (tenant_id, upload_id), with_for_update={"skip_locked": True})
    if upload is None or upload.state not in ("checking", "quarantined") or upload.due_at > now():
        return None
    upload.due_at = now() + patience(upload)
    return upload


def patience(upload: Upload) -> timedelta:
    """How long a check may take before somebody else begins anew: 5 MB/s, and a minute."""
    return timedelta(seconds=60 + (upload.size or 0) / 5_000_000)


def part_sizes(upload: Upload) -> dict[int, int]:
    """Bytes of each part, by number."""
    size, part = upload.size or 0, part_size_for(upload.size or 0)
    count = -(-size // part)
    return {number: min(part, size - (number - 1) * part) for number in range(1, count + 1)}


async def give_up(session: AsyncSession, actor: Actor, upload_id: UUID) -> None:
    """Nothing happens to one that is done: the document is there."""
    upload = await get_upload(session, actor, upload_id, lock=True)
    if upload.state in UNDER_WAY:
        delete_object(session, upload)
        await session.delete(upload)


async def conclude(session: AsyncSession, upload: Upload, report: Report | None, *, bomb: bool) -> Upload:
    """What is known of all the bytes decides: done, quarantined or refused. report None: the store has not got them.

    Raises UploadSuperseded.
    """
    await lock_room(session, upload.tenant_id)
    current = await _locked(session, upload.id)
    if current is None or current.object_id != upload.object_id:
        session.add(_late(upload))
        raise UploadSuperseded
    if current.state not in UNDER_WAY:
        return current
    upload = current
    policy = await get_policy(session, upload.tenant_id)
    against = refusal(upload, report, policy, bomb=bomb)
    if against is not None or report is None:
        return _refuse(session, upload, against or FileVanished)
    upload.size, upload.sha256 = report.size, report.sha256
    if report.unscanned:
        upload.state, upload.reason, upload.due_at = "quarantined", report.unscanned, now() + LOOK_AGAIN
        return upload
    await session.flush()
    try:
        await require_room(session, policy, upload.uploader_id)
    except (UploaderQuotaExceeded, TenantQuotaExceeded) as full:
        return _refuse(session, upload, type(full))
    return await _file(session, upload, report)


async def _file(session: AsyncSession, upload: Upload, report: Report) -> Upload:
    """The document: from now on it is seen."""
    member = await get_member(session, upload.member_id)
    if member.life in GONE:
        return _refuse(session, upload, MemberGone)
    document = Document(
        tenant_id=upload.tenant_id,
        id=upload.id,
        created_at=now(),
        member_id=upload.member_id,
        member_holder=_whom_it_is_about(upload, member),
        uploader_id=upload.uploader_id,
        uploader_holder=upload.uploader_holder,
        visibility=upload.visibility,
        group_id=upload.group_id,
        kind=upload.kind,
        name=upload.name,
        description=upload.description,
        tags=upload.tags,
        words=words_of(upload.name, upload.description, upload.tags),
        valid_until=upload.valid_until,
        content_type=report.content_type,
        size=report.size,
        sha256=report.sha256,
        object_id=upload.object_id,
        version=1,
    )
    session.add(document)
    upload.state, upload.reason, upload.due_at = "done", "", now() + REMEMBERED
    await session.flush()
    added = DocumentAdded(member_id=document.member_id, uploader_id=document.uploader_id)
    record(session, _uploader(upload), document, added)
    await review(session, upload.tenant_id, upload.uploader_id)
    return upload


def _late(upload: Upload, multipart_id: str | None = None) -> Deletion:
    """The object of a try that another one has overtaken."""
    return Deletion(tenant_id=upload.tenant_id, object_id=upload.object_id, multipart_id=multipart_id, due_at=now())


async def _locked(session: AsyncSession, upload_id: UUID) -> Upload | None:
    return await session.scalar(select(Upload).where(Upload.id == upload_id).with_for_update())


def _whom_it_is_about(upload: Upload, member: Member) -> int:
    """The holder. Before the first acceptance it is who will accept; about herself her token knows it first."""
    return upload.uploader_holder if upload.uploader_id == member.id else max(member.holder, 1)


def _refuse(session: AsyncSession, upload: Upload, why: type[AppError]) -> Upload:
    delete_object(session, upload)
    upload.state, upload.reason, upload.due_at = "refused", why.code(), now() + REMEMBERED
    note(session, _uploader(upload), upload, "documents.upload.refused", reason=upload.reason)
    return upload


def _types_for(actor: Actor, member_id: UUID, policy: Policy) -> list[str] | None:
    """None: all that are not forbidden. Members without the right bring what the tenant lets them, about themselves
    (C-86). Raises Forbidden.
    """
    if Permission.DOCUMENTS_WRITE in actor.rights:
        return None
    if actor.id != member_id or not policy.own_types:
        raise Forbidden(permission=Permission.DOCUMENTS_WRITE)
    return policy.own_types


async def _begun_before(session: AsyncSession, actor: Actor, about: FileIn, request_key: str | None) -> Upload | None:
    """Raises IdempotencyKeyReused; the bytes are compared when they have been read."""
    if request_key is None:
        return None
    of_key = Upload.uploader_id == actor.id, Upload.request_key == request_key
    earlier = await session.scalar(select(Upload).where(*of_key).with_for_update())
    if earlier is None:
        return None
    said = msgspec.structs.asdict(about) | {"name": safe_name(about.name), "uploader_holder": actor.holder}
    if any(getattr(earlier, field) != value for field, value in said.items()):
        raise IdempotencyKeyReused
    return earlier


def _uploader(upload: Upload) -> Actor:
    """Who is said to have done it, when a worker finishes it."""
    return Actor(kind="member", id=upload.uploader_id, tenant_id=upload.tenant_id, session_id="upload", expires_at=0)
