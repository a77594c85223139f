"""The one way to S3. boto3 blocks, so every call runs in a small pool of threads, never on the event loop.

Objects are addressed by (tenant, object id) and stored as `tenant/uuid`: no name, no type. They are written once: what
a client uploads by itself becomes an object only when we put its parts together, and it cannot change that any more.
"""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache, partial
from typing import Any
from uuid import UUID

import msgspec
import structlog

from libs.common.errors import Unavailable
from services.documents.settings import Settings

CHUNK = 256 * 1024
PART_SIZE = 8 * 1024 * 1024
"""Bytes of a part, and so the most that an upload through the service holds in memory, twice."""
LINK_SECONDS = 60

_THREADS = 16
_READ_AHEAD = 4 * 1024 * 1024
_MOST_PARTS = 9_000  # S3 takes 10,000
_log = structlog.get_logger()


class StoreAway(Unavailable):
    title = "The file store does not answer; try again soon"


class ObjectMissing(Exception):
    """There is no such object."""


class UploadMissing(Exception):
    """There is no such multipart upload: never begun, ended, or given up."""


class Place(msgspec.Struct, frozen=True):
    """Where an object is."""

    tenant_id: UUID
    object_id: UUID

    @property
    def key(self) -> str:
        return f"{self.tenant_id}/{self.object_id}"


def place_of(key: str) -> Place | None:
    """None for a key that is not one of ours."""
    try:
        tenant_id, object_id = (UUID(part) for part in key.split("/"))
    except ValueError:
        return None
    place = Place(tenant_id, object_id)
    return place if place.key == key else None


class Part(msgspec.Struct, frozen=True):
    number: int
    size: int
    etag: str


class SignedPart(msgspec.Struct, frozen=True):
    """A PUT of exactly these bytes, with exactly these headers, begun within LINK_SECONDS."""

    number: int
    url: str
    headers: dict[str, str]


class Found(msgspec.Struct, frozen=True):
    """An object, or an upload that was never finished (multipart_id), in a listing of everything."""

    key: str
    since: datetime
    size: int = 0
    multipart_id: str = ""


def part_size_for(size: int) -> int:
    """Bytes of every part but the last of a file of `size` bytes."""
    mebibyte = 1024 * 1024
    return max(PART_SIZE, -(-size // _MOST_PARTS // mebibyte) * mebibyte)


class Store:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(_THREADS, "s3")

    @asynccontextmanager
    async def running(self, _: object = None) -> AsyncIterator[None]:
        """A lifespan: ends the threads with the application."""
        yield
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ping(self) -> None:
        """Raises StoreAway when the bucket cannot be reached."""
        await self._ask("head_bucket")

    async def put(self, place: Place, body: bytes | bytearray) -> None:
        await self._ask("put_object", place, Body=body, **self._new)

    async def begin(self, place: Place) -> str:
        """Begin a multipart upload and give its id."""
        answer = await self._ask("create_multipart_upload", place, **self._new)
        return str(answer["UploadId"])

    async def put_part(self, place: Place, multipart_id: str, number: int, body: bytes | bytearray) -> Part:
        answer = await self._ask("upload_part", place, UploadId=multipart_id, PartNumber=number, Body=body)
        return Part(number, len(body), answer["ETag"])

    async def sign_part(self, place: Place, multipart_id: str, number: int, *, size: int, sha256: bytes) -> SignedPart:
        """The length is signed, and the digest for stores that check it; we check that of the whole in any case."""
        checksum = base64.b64encode(sha256).decode()
        about = {"UploadId": multipart_id, "PartNumber": number, "ContentLength": size, "ChecksumSHA256": checksum}
        url = await self._run(partial(self._sign, "upload_part", place, **about))
        return SignedPart(number, url, {"Content-Length": str(size), "x-amz-checksum-sha256": checksum})

    async def parts(self, place: Place, multipart_id: str) -> list[Part]:
        """What has arrived so far, by number. Raises UploadMissing."""
        found: list[Part] = []
        while True:
            marker: dict[str, Any] = {"PartNumberMarker": found[-1].number} if found else {}
            answer = await self._ask("list_parts", place, UploadId=multipart_id, **marker)
            found += [Part(part["PartNumber"], part["Size"], part["ETag"]) for part in answer.get("Parts", [])]
            if not answer.get("IsTruncated"):
                return found

    async def finish(self, place: Place, multipart_id: str, parts: Sequence[Part]) -> None:
        """Put the parts together: the object exists from now on. May be repeated. Raises UploadMissing."""
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        together = {"UploadId": multipart_id, "MultipartUpload": {"Parts": listed}}
        try:
            await self._ask("complete_multipart_upload", place, **together)
        except UploadMissing:  # also the answer when it was done, and that answer was lost
            if not await self.has(place, sum(part.size for part in parts)):
                raise

    async def abort(self, place: Place, multipart_id: str) -> None:
        """Forget what has arrived. Nothing happens if it was never begun, or has ended."""
        try:
            await self._ask("abort_multipart_upload", place, UploadId=multipart_id)
        except UploadMissing:
            return

    async def size(self, place: Place) -> int:
        """Raises ObjectMissing."""
        return int((await self._ask("head_object", place))["ContentLength"])

    async def has(self, place: Place, size: int) -> bool:
        """Whether the object is there, in this length."""
        try:
            return await self.size(place) == size
        except ObjectMissing:
            return False

    async def read(self, place: Place, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The object's bytes from start up to, not including, end. Takes up again where the store broke off.

        Raises ObjectMissing before the first chunk, StoreAway at any time.
        """
        position, left = start, 3
        while end is None or position < end:
            body = await self._open(place, position, end)
            try:
                while chunk := await self._run(partial(body.read, CHUNK)):
                    position += len(chunk)
                    yield chunk
                return
            except StoreAway:
                left -= 1
                if not left:
                    raise
            finally:
                body.close()

    async def delete(self, place: Place) -> None:
        """Nothing happens if it is not there."""
        await self._ask("delete_object", place)

    async def sign_download(self, place: Place, disposition: str) -> str:
        """Good for LINK_SECONDS; always of no type a browser would show."""
        about = {"ResponseContentDisposition": disposition, "ResponseContentType": "application/octet-stream"}
        return await self._run(partial(self._sign, "get_object", place, **about))

    async def objects(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Found]:
        """Everything that is stored, by key."""
        while True:
            answer = await self._ask("list_objects_v2", Prefix=prefix, StartAfter=after)
            for one in answer.get("Contents", []):
                yield Found(one["Key"], one["LastModified"], one["Size"])
                after = one["Key"]
            if not answer.get("IsTruncated"):
                return

    async def unfinished(self, prefix: str = "") -> AsyncIterator[Found]:
        """Every multipart upload that was begun and has not ended."""
        marker: dict[str, Any] = {}
        while True:
            try:
                answer = await self._ask("list_multipart_uploads", Prefix=prefix, **marker)
            except UploadMissing:  # rclone's word for a bucket in which none was ever begun
                return
            for one in answer.get("Uploads", []):
                yield Found(one["Key"], one["Initiated"], multipart_id=one["UploadId"])
            if not answer.get("IsTruncated"):
                return
            marker = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    async def inspect[T](self, place: Place, size: int, look: Callable[[io.BufferedReader], T]) -> T:
        """Call `look` with the object as a seekable file, in a thread: for formats that are read from their end."""
        return await self._run(lambda: look(io.BufferedReader(_ObjectFile(self, place, size), _READ_AHEAD)))

    def read_range(self, place: Place, start: int, end: int) -> bytes:
        """Blocks; for use in a thread of this store. Never raises OSError, which readers of formats take for damage."""

        def ask() -> bytes:
            wanted = f"bytes={start}-{end - 1}"
            found: bytes = self._client.get_object(Bucket=self._bucket, Key=place.key, Range=wanted)["Body"].read()
            return found

        return _translated(ask)

    async def _open(self, place: Place, start: int, end: int | None) -> Any:
        wanted = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        return (await self._ask("get_object", place, **wanted))["Body"]

    async def _ask(self, call: str, place: Place | None = None, **about: Any) -> Any:
        where = {"Key": place.key} if place else {}
        return await self._run(lambda: getattr(self._client, call)(Bucket=self._bucket, **where, **about))

    async def _run[T](self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _translated, call)

    def _sign(self, call: str, place: Place, **about: Any) -> str:
        about |= {"Bucket": self._bucket, "Key": place.key}
        url: str = self._public_client.generate_presigned_url(call, Params=about, ExpiresIn=LINK_SECONDS)
        return url

    @property
    def _bucket(self) -> str:
        return self._settings.s3_bucket

    @property
    def _new(self) -> dict[str, str]:
        """What every new object carries. Should a store show it by itself, it is no type that a browser would run."""
        found = {"ContentType": "application/octet-stream", "ContentDisposition": "attachment"}
        if self._settings.s3_encryption:
            found["ServerSideEncryption"] = self._settings.s3_encryption
        if self._settings.s3_kms_key:
            found["SSEKMSKeyId"] = self._settings.s3_kms_key
        return found

    @property
    def _client(self) -> Any:
        return _client(self._settings, self._settings.s3_endpoint)

    @property
    def _public_client(self) -> Any:
        return _client(self._settings, self._settings.s3_public_endpoint or self._settings.s3_endpoint)


class _ObjectFile(io.RawIOBase):
    def __init__(self, store: Store, place: Place, size: int) -> None:
        self._store, self._place, self._size, self._position = store, place, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        found = self._store.read_range(self._place, self._position, end)
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)


@cache
def _client(settings: Settings, endpoint: str) -> Any:
    """Made once, when first needed: boto3 takes half a second to import, and as long again to make a client."""
    import boto3
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": settings.s3_addressing},
        connect_timeout=3,
        read_timeout=settings.s3_timeout,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=_THREADS,
        # Checksums in trailers are not understood by every store; lengths and digests are checked by ourselves.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint or None,
        aws_access_key_id=settings.s3_key,
        aws_secret_access_key=settings.s3_secret,
        region_name=settings.s3_region,
        verify=settings.s3_ca_file or None,
        config=config,
    )


def _translated[T](call: Callable[[], T]) -> T:
    """boto3's errors as ours."""
    import botocore.exceptions as boto
    import urllib3.exceptions

    try:
        return call()
    except boto.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "NoSuchUpload":
            raise UploadMissing from error
        if code in {"NoSuchKey", "404", "NotFound"}:
            raise ObjectMissing from error
        _log.error("store_refused", operation=error.operation_name, code=code)
        raise StoreAway(retry_after=5) from error
    except (boto.BotoCoreError, boto.HTTPClientError, urllib3.exceptions.HTTPError, OSError) as error:
        _log.warning("store_away", error=type(error).__name__)
        raise StoreAway(retry_after=5) from error
