"""Reading a request's body as it comes: raw, or a form with one file."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from libs.common.errors import Malformed, Unauthenticated, UnsupportedMediaType
from libs.common.revocation import Revocations
from libs.common.tokens import Actor
from services.documents.documents.schemas import FileIn

FORM = "multipart/form-data"
_SILENCE = 60.0
_LONGEST_FIELD = 16 * 1024
_MOST_FIELDS = 40


class UploadInterrupted(Malformed):
    title = "The body ended before it was complete"


class FileBody(msgspec.Struct):
    """about: what was said of the file before it. chunks: its bytes, to be read once and to the end."""

    about: FileIn
    chunks: AsyncIterator[bytes]


async def body_of(request: Request, actor: Actor) -> AsyncIterator[bytes]:
    """Raises UploadInterrupted where the client goes away, or says nothing for a minute; Unauthenticated when the
    actor is shut out meanwhile.
    """
    revocations: Revocations = request.app.state.revocations
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(_SILENCE):
                chunk = await anext(stream, None)
            if chunk is None:
                return
            if revocations.refuses(actor):
                raise Unauthenticated
            if chunk:
                yield chunk
    except (InternalServerException, TimeoutError) as error:
        raise UploadInterrupted(field="body") from error


async def read_form(request: Request, actor: Actor) -> FileBody:
    """multipart/form-data: fields first, the part `file` last. Raises UnsupportedMediaType, Malformed."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != FORM:
        raise UnsupportedMediaType(taken=FORM)
    try:
        return await _Form(body_of(request, actor), options.get("boundary", "")).read()
    except MultipartError as error:
        raise Malformed(field="body", message=str(error)) from error


class _Form:
    def __init__(self, body: AsyncIterator[bytes], boundary: str) -> None:
        self._events = self._read(body, boundary)
        self._fields: dict[str, list[str]] = {}

    async def read(self) -> FileBody:
        """Up to the first byte of the file."""
        async for event in self._events:
            if not isinstance(event, MultipartSegment):
                raise Malformed(field="body")
            if event.name == "file":
                name = self._fields.setdefault("name", [event.filename or ""])
                if not name[0]:
                    raise Malformed(field="name")
                return FileBody(_about(self._fields), self._file())
            self._fields.setdefault(event.name, []).append(await self._value(event.name))
        raise Malformed(field="file")

    async def _value(self, name: str) -> str:
        value = b""
        while (event := await anext(self._events)) is not None:
            value += event
            if len(value) > _LONGEST_FIELD:
                raise Malformed(field=name)
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise Malformed(field=name) from error

    async def _file(self) -> AsyncIterator[bytes]:
        try:
            while (event := await anext(self._events)) is not None:
                yield event
            async for _ in self._events:  # nothing may follow: what is said of a file is said before it
                raise Malformed(field="file")
        except MultipartError as error:
            raise UploadInterrupted(field="body") from error

    async def _read(self, body: AsyncIterator[bytes], boundary: str) -> AsyncIterator[Any]:
        with PushMultipartParser(boundary, max_segment_count=_MOST_FIELDS, strict=True) as parser:
            async for chunk in body:
                for event in parser.parse(chunk):
                    yield event


def _about(fields: dict[str, list[str]]) -> FileIn:
    """Text fields as the struct that JSON would give. Raises Malformed, naming the field."""
    given = {name: values if name == "tags" else values[-1] for name, values in fields.items()}
    try:
        return msgspec.convert(given, FileIn, strict=False)
    except msgspec.ValidationError as error:
        named = re.search(r"(?:\$\.|field `)(\w+)", str(error))
        raise Malformed(field=named.group(1) if named else "body", message=str(error)) from error
