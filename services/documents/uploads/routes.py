from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from uuid import UUID

import msgspec
from litestar import Request, Response, Router, delete, get, post, put
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import FromPath, FromQuery, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.auth import AUTHENTICATED
from libs.common.errors import Forbidden, Malformed, NotFound, UnsupportedMediaType
from libs.common.idempotency import IdempotencyKey, IdempotencyKeyReused
from libs.common.openapi import also
from libs.common.pages import Page, decode_cursor, page
from libs.common.projections import MemberNotKnownYet
from services.documents.documents.routes import Limit
from services.documents.documents.rules import GroupNotKnown, VisibilityNotAllowed
from services.documents.documents.schemas import FileIn, document_out
from services.documents.documents.tables import Document
from services.documents.edges import Edges, FileEdges
from services.documents.people.rules import MemberGone, MemberMarkedDeleted
from services.documents.store import StoreAway, part_size_for
from services.documents.tenants.rules import FileTooLarge, TenantQuotaExceeded, UploaderQuotaExceeded, tenant_of
from services.documents.uploads import intake, rules
from services.documents.uploads.bodies import FORM, UploadInterrupted, body_of, read_form
from services.documents.uploads.refusals import REFUSALS, raise_if_refused
from services.documents.uploads.schemas import PartsIn, SignedPartOut, SignedPartsOut, State, UploadIn, UploadOut
from services.documents.uploads.tables import Upload

_NOT_ADMITTED = (
    Forbidden,
    NotFound,
    FileTooLarge,
    GroupNotKnown,
    MemberGone,
    MemberMarkedDeleted,
    MemberNotKnownYet,
    TenantQuotaExceeded,
    UploaderQuotaExceeded,
    VisibilityNotAllowed,
    rules.TooManyUploads,
)
_CHECKING = also(202, UploadOut, "It is there, and is still being checked")


@dataclass
class _FormOperation(Operation):
    """What Litestar cannot see: the body is read as it comes."""

    def __post_init__(self) -> None:
        text, file = Schema(type=OpenAPIType.STRING), Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        fields = {field.name: text for field in msgspec.structs.fields(FileIn)}
        fields["tags"] = Schema(type=OpenAPIType.ARRAY, items=text)
        form = Schema(type=OpenAPIType.OBJECT, properties={**fields, "file": file}, required=["member_id", "file"])
        self.request_body = RequestBody({FORM: OpenAPIMediaType(form)}, required=True)


@dataclass
class _RawOperation(Operation):
    def __post_init__(self) -> None:
        file = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody({"application/octet-stream": OpenAPIMediaType(file)}, required=True)


@post(
    "/documents/v1/documents",
    permission=AUTHENTICATED,
    operation_class=_FormOperation,
    request_max_body_size=None,
    summary="Upload a document in one request",
    responses=_CHECKING
    | problems(
        *_NOT_ADMITTED, *REFUSALS, Malformed, UnsupportedMediaType, UploadInterrupted, rules.UploadSuperseded, StoreAway
    ),
)
async def upload_document(
    request: Request, actor: CurrentActor, edges: FileEdges, idempotency_key: IdempotencyKey = None
) -> Response[UploadOut]:
    """A form with the fields of an upload, and its part `file` last. 202: it is there and could not be checked yet."""
    file = await read_form(request, actor)
    return await _answer(edges, await intake.upload_in_one(edges, actor, file, idempotency_key))


@post("/", permission=AUTHENTICATED, responses=problems(*_NOT_ADMITTED))
async def announce_upload(
    session: Session, actor: CurrentActor, once: OnceOnly, data: JSONBody[UploadIn]
) -> Response[UploadOut]:
    """For a file that is then sent by `content`, or by parts straight to the store."""
    upload, _ = await rules.admit(session, actor, data, size=data.size, sha256=bytes.fromhex(data.sha256))
    return await once.answer(_out(upload), 201)


@get("/", permission=AUTHENTICATED, responses=problems(Malformed))
async def list_uploads(
    session: Session, actor: CurrentActor, cursor: FromQuery[str | None] = None, limit: Limit = 50
) -> Page[UploadOut]:
    """Mine, newest first: those under way, and those of the last day."""
    before = decode_cursor("uploads", cursor, UUID)[0] if cursor else None
    found = await rules.list_uploads(session, actor, before=before, limit=limit + 1)
    return page("uploads", found, limit, out=_out, keys=lambda upload: (str(upload.id),))


@get("/{upload_id:uuid}", permission=AUTHENTICATED, responses=problems(NotFound, StoreAway))
async def read_upload(actor: CurrentActor, edges: FileEdges, upload_id: FromPath[UUID]) -> UploadOut:
    async with edges.database.session(tenant_of(actor)) as session:
        upload = await rules.get_upload(session, actor, upload_id)
        document = await _document(session, upload)
    return _out(upload, [part.number for part in await intake.received(edges, upload)], document)


@put(
    "/{upload_id:uuid}/content",
    permission=AUTHENTICATED,
    operation_class=_RawOperation,
    request_max_body_size=None,
    status_code=201,
    responses=_CHECKING
    | problems(NotFound, *REFUSALS, UploadInterrupted, rules.UploadSuperseded, IdempotencyKeyReused, StoreAway),
)
async def upload_content(
    request: Request, actor: CurrentActor, edges: FileEdges, upload_id: FromPath[UUID]
) -> Response[UploadOut]:
    """All bytes of the file. May be repeated: the last try counts."""
    return await _answer(edges, await intake.upload_content(edges, actor, upload_id, body_of(request, actor)))


@post(
    "/{upload_id:uuid}/parts",
    permission=AUTHENTICATED,
    status_code=200,
    responses=problems(NotFound, rules.UploadNotOpen, rules.UploadSuperseded, StoreAway),
)
async def sign_parts(
    actor: CurrentActor, edges: FileEdges, upload_id: FromPath[UUID], data: JSONBody[PartsIn]
) -> SignedPartsOut:
    """Links to send parts to the store by, 60 seconds long. Every part but the last has `part_size` bytes."""
    wanted = [(part.number, bytes.fromhex(part.sha256)) for part in data.parts]
    signed = await intake.sign_parts(edges, actor, upload_id, wanted)
    return SignedPartsOut([SignedPartOut(part.number, size, part.url, part.headers) for part, size in signed])


@post(
    "/{upload_id:uuid}/complete",
    permission=AUTHENTICATED,
    responses=_CHECKING | problems(NotFound, intake.PartsMissing, *REFUSALS, rules.UploadSuperseded, StoreAway),
)
async def complete_upload(actor: CurrentActor, edges: FileEdges, upload_id: FromPath[UUID]) -> Response[UploadOut]:
    """All parts are there. 202: it is being checked. May be repeated."""
    return await _answer(edges, await intake.complete(edges, actor, upload_id))


@delete("/{upload_id:uuid}", permission=AUTHENTICATED, responses=problems(NotFound))
async def give_up_upload(session: Session, actor: CurrentActor, upload_id: FromPath[UUID]) -> None:
    await rules.give_up(session, actor, upload_id)


async def _answer(edges: Edges, upload: Upload) -> Response[UploadOut]:
    raise_if_refused(upload)
    async with edges.database.session(upload.tenant_id) as session:
        document = await _document(session, upload)
    return Response(_out(upload, document=document), status_code=201 if upload.state == "done" else 202)


async def _document(session: AsyncSession, upload: Upload) -> Document | None:
    """What became of it; its uploader may have deleted it since."""
    return await session.get(Document, (upload.tenant_id, upload.id)) if upload.state == "done" else None


def _out(upload: Upload, received: Sequence[int] = (), document: Document | None = None) -> UploadOut:
    return UploadOut(
        id=upload.id,
        state=cast(State, upload.state),
        reason=upload.reason,
        member_id=upload.member_id,
        name=upload.name,
        size=upload.size,
        part_size=part_size_for(upload.size) if upload.size else None,
        received=list(received),
        document=document_out(document) if document else None,
    )


_handlers = [
    announce_upload,
    list_uploads,
    read_upload,
    upload_content,
    sign_parts,
    complete_upload,
    give_up_upload,
]
router = Router(
    "/",
    route_handlers=[upload_document, Router("/documents/v1/uploads", route_handlers=_handlers)],
    tags=["Uploads"],
)
