"""The ways by which bytes come in, each with transactions of its own; none of these is open while bytes move."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import structlog

from libs.common.errors import Conflict, Malformed
from libs.common.idempotency import IdempotencyKeyReused
from libs.common.tokens import Actor
from services.documents.edges import Edges
from services.documents.store import ObjectMissing, Part, SignedPart, StoreAway, UploadMissing
from services.documents.tenants.rules import tenant_of
from services.documents.uploads import rules
from services.documents.uploads.archives import Bomb, require_harmless
from services.documents.uploads.bodies import FileBody
from services.documents.uploads.inspection import Inspection, Report
from services.documents.uploads.streams import store_stream
from services.documents.uploads.tables import Upload

CHECKED_AT_ONCE = 32 * 1024 * 1024
"""Bytes up to which `complete` waits for the check; longer files are left to the worker."""

_log = structlog.get_logger()


class PartsMissing(Conflict):
    title = "Not all parts of the file have arrived"


async def upload_in_one(edges: Edges, actor: Actor, file: FileBody, request_key: str | None) -> Upload:
    """A form: what the file is, and its bytes. With a key it may be repeated; without one, an upload that fails
    leaves nothing behind.
    """
    async with edges.database.session(tenant_of(actor)) as session:
        upload, most = await rules.admit(session, actor, file.about, request_key=request_key)
        begun = await rules.begin_try(session, upload)
    if not begun:
        return await _repeated(upload, file.chunks)
    return await _stream(edges, upload, file.chunks, most, forget=request_key is None)


async def upload_content(edges: Edges, actor: Actor, upload_id: UUID, chunks: AsyncIterator[bytes]) -> Upload:
    """All bytes of an announced upload. A try takes over from one before it."""
    async with edges.database.session(tenant_of(actor)) as session:
        upload = await rules.get_upload(session, actor, upload_id, lock=True)
        begun = await rules.begin_try(session, upload)
    if not begun:
        return await _repeated(upload, chunks)
    return await _stream(edges, upload, chunks, upload.size or 0)


async def sign_parts(
    edges: Edges, actor: Actor, upload_id: UUID, wanted: list[tuple[int, bytes]]
) -> list[tuple[SignedPart, int]]:
    """Links to PUT parts to, each with its size. wanted: numbers and SHA-256. Raises UploadNotOpen, Malformed."""
    async with edges.database.session(tenant_of(actor)) as session:
        upload = await rules.get_upload(session, actor, upload_id, lock=True)
        sizes = rules.part_sizes(upload)
        if upload.state != "open":
            raise rules.UploadNotOpen(state=upload.state)
        if upload.object_id is None:
            await rules.begin_try(session, upload)
    if any(number not in sizes for number, _ in wanted):
        raise Malformed(field="parts", parts=len(sizes))
    multipart_id = upload.multipart_id or await _begin_parts(edges, upload)
    return [
        (
            await edges.store.sign_part(upload.place, multipart_id, number, size=sizes[number], sha256=sha256),
            sizes[number],
        )
        for number, sha256 in wanted
    ]


async def received(edges: Edges, upload: Upload) -> list[Part]:
    """Parts that are there as a whole: the others are to be sent (again)."""
    if upload.state != "open" or not upload.multipart_id:
        return []
    try:
        found = await edges.store.parts(upload.place, upload.multipart_id)
    except UploadMissing:
        return []
    sizes = rules.part_sizes(upload)
    return [part for part in found if part.size == sizes.get(part.number)]


async def complete(edges: Edges, actor: Actor, upload_id: UUID) -> Upload:
    """Put the parts together and check the file: here and now if it is small, else by the worker. May be repeated.

    Raises PartsMissing, and what the file is refused for.
    """
    async with edges.database.session(tenant_of(actor)) as session:
        upload = await rules.get_upload(session, actor, upload_id)
    if upload.state != "open":
        return upload
    await _put_together(edges, upload)
    at_once = (upload.size or 0) <= CHECKED_AT_ONCE
    async with edges.database.session(upload.tenant_id) as session:
        marked = await rules.mark_stored(session, upload, rules.patience(upload) if at_once else timedelta(0))
        if not marked or not at_once:
            return await rules.get_upload(session, actor, upload_id)
    try:
        return await _check(edges, upload)
    except StoreAway:
        upload.state = "checking"  # as it stands in the database: the worker will see to it
        return upload


async def check_due(edges: Edges, tenant_id: UUID, upload_id: UUID) -> None:
    """For the worker: files that are stored and not checked yet, or could not be."""
    async with edges.database.session(tenant_id) as session:
        upload = await rules.claim_check(session, tenant_id, upload_id)
    if upload is not None:
        await _check(edges, upload)


async def _stream(
    edges: Edges, upload: Upload, chunks: AsyncIterator[bytes], most: int, *, forget: bool = False
) -> Upload:
    inspection = Inspection(upload.name, edges.scanner)

    async def begun(multipart_id: str) -> None:
        async with edges.database.session(upload.tenant_id) as session:
            await rules.note_multipart(session, upload, multipart_id)

    try:
        async with edges.streams:
            await store_stream(edges.store, upload.place, chunks, inspection, most=most, begun=begun)
        report = await inspection.report()
        bomb = report.is_archive and await _is_bomb(edges, upload, report)
    except UploadMissing as error:  # its parts were cleared away for the try that took over
        raise rules.UploadSuperseded from error
    except BaseException:
        await asyncio.shield(_clear_up(edges, upload, forget))
        raise
    finally:
        inspection.give_up()
    async with edges.database.session(upload.tenant_id) as session:
        return await rules.conclude(session, upload, report, bomb=bomb)


async def _clear_up(edges: Edges, upload: Upload, forget: bool) -> None:
    """After a failure; should this fail too, the sweeps come to it."""
    try:
        async with edges.database.session(upload.tenant_id) as session:
            await rules.end_try(session, upload, forget=forget)
    except Exception:
        _log.warning("upload_not_cleared", upload_id=str(upload.id), exc_info=True)


async def _repeated(upload: Upload, chunks: AsyncIterator[bytes]) -> Upload:
    """A request that was answered before. What was refused stays so; else its bytes must be the same. Raises
    IdempotencyKeyReused.
    """
    if upload.state == "refused":
        return upload
    digest = hashlib.sha256()
    async for chunk in chunks:
        digest.update(chunk)
    if upload.sha256 is not None and upload.sha256 != digest.digest():
        raise IdempotencyKeyReused
    return upload


async def _begin_parts(edges: Edges, upload: Upload) -> str:
    multipart_id = await edges.store.begin(upload.place)
    async with edges.database.session(upload.tenant_id) as session:
        noted = await rules.note_multipart(session, upload, multipart_id)
    if noted != multipart_id:  # another request was faster
        await edges.store.abort(upload.place, multipart_id)
    return noted


async def _put_together(edges: Edges, upload: Upload) -> None:
    sizes = rules.part_sizes(upload)
    found = {part.number: part for part in await received(edges, upload)}
    missing = [number for number in sizes if number not in found]
    if upload.multipart_id and not missing:
        with suppress(UploadMissing):  # given up meanwhile
            await edges.store.finish(upload.place, upload.multipart_id, [found[number] for number in sizes])
            return
    if upload.object_id is None or not await edges.store.has(upload.place, upload.size or 0):
        raise PartsMissing(parts=missing[:100])


async def _check(edges: Edges, upload: Upload) -> Upload:
    """Read the whole file back, and decide."""
    inspection = Inspection(upload.name, edges.scanner)
    report: Report | None
    bomb = False
    try:
        async for chunk in edges.store.read(upload.place):
            await inspection.feed(chunk)
        report = await inspection.report()
        bomb = report.is_archive and await _is_bomb(edges, upload, report)
    except ObjectMissing:
        report = None
    finally:
        inspection.give_up()
    async with edges.database.session(upload.tenant_id) as session:
        return await rules.conclude(session, upload, report, bomb=bomb)


async def _is_bomb(edges: Edges, upload: Upload, report: Report) -> bool:
    try:
        await edges.store.inspect(upload.place, report.size, lambda file: require_harmless(file, report.size))
    except Bomb as bomb:
        _log.info("archive_bomb", upload_id=str(upload.id), reason=str(bomb))
        return True
    return False
