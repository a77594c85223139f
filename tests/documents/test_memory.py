"""Flat memory: a file many times larger than what may be held passes both ways, and a zip of it."""

import asyncio
import hashlib
import tracemalloc
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from litestar import Litestar

from services.documents.store import PART_SIZE
from tests.documents.conftest import DOCUMENTS, UPLOADS, As, Caller

MIB = 1024 * 1024
CHUNK = bytes(range(256)) * 256
CHUNKS = 160 * MIB // len(CHUNK)
MOST = 4 * PART_SIZE  # a part that is filled, one that is sent, and what the clients copy of it


async def _exchange(app: Litestar, caller: Caller, method: str, path: str, chunks: int = 0) -> tuple[int, int]:
    """Status and length of the answer; bodies are made and forgotten chunk by chunk."""
    left, status, length, answered = chunks, 0, 0, asyncio.Event()

    async def receive() -> Any:
        nonlocal left
        if not left:
            await answered.wait()
            return {"type": "http.disconnect"}
        left -= 1
        return {"type": "http.request", "body": CHUNK, "more_body": left > 0}

    async def send(message: Any) -> None:
        nonlocal status, length
        status = message.get("status", status)
        length += len(message.get("body", b""))
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    path, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    headers = [(b"authorization", caller.client.headers["authorization"].encode())]
    await app({**scope, "headers": headers, "root_path": "", "scheme": "http"}, receive, send)  # type: ignore[arg-type]
    return status, length


@pytest.fixture
def measured() -> Callable[..., Awaitable[tuple[int, int]]]:
    async def run(work: Awaitable[tuple[int, int]]) -> tuple[int, int]:
        tracemalloc.start()
        try:
            found = await work
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MOST, f"{peak // MIB} MiB"
        return found

    return run


async def test_a_large_file_passes_through_flat_memory(
    as_: As, bob: uuid.UUID, app: Litestar, measured: Callable[..., Awaitable[tuple[int, int]]]
) -> None:
    """A-32, A-36: in, out, and in a zip."""
    carla, size = as_("counsellor"), CHUNKS * len(CHUNK)
    digest = hashlib.sha256()
    for _ in range(CHUNKS):
        digest.update(CHUNK)
    announced = {"member_id": str(bob), "name": "film.bin", "size": size, "sha256": digest.hexdigest()}
    upload = (await carla.client.post(UPLOADS, json=announced)).json()
    await carla.file(bob)  # everything that is loaded once is loaded
    path = f"{UPLOADS}/{upload['id']}/content"
    assert (await measured(_exchange(app, carla, "PUT", path, CHUNKS)))[0] == 201
    path = f"{DOCUMENTS}/{upload['id']}/content"
    assert await measured(_exchange(app, carla, "GET", path)) == (200, size)
    status, length = await measured(_exchange(app, carla, "GET", f"{DOCUMENTS}/zip?text=film"))
    assert status == 200
    assert length > size
