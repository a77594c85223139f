"""Words for stories about uploads: announced, sent in parts, looked for in the store."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx

from services.documents.edges import Edges
from services.documents.store import PART_SIZE
from tests.documents.conftest import DOCUMENTS, UPLOADS, Caller

BIG = bytes(range(256)) * (PART_SIZE // 256) * 2 + b"the rest"


def announcement(about: uuid.UUID, body: bytes, **fields: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(body).hexdigest()
    return {"member_id": str(about), "name": "film.bin", "size": len(body), "sha256": sha256, **fields}


async def announce(caller: Caller, about: uuid.UUID, body: bytes, **fields: Any) -> dict[str, Any]:
    answer = await caller.client.post(UPLOADS, json=announcement(about, body, **fields))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def send_parts(caller: Caller, upload: dict[str, Any], body: bytes, *numbers: int) -> None:
    """As a client does: asks for links, PUTs to the store."""
    size = upload["part_size"]
    parts = {number: body[(number - 1) * size : number * size] for number in numbers}
    asked = [{"number": number, "sha256": hashlib.sha256(part).hexdigest()} for number, part in parts.items()]
    answer = await caller.client.post(f"{UPLOADS}/{upload['id']}/parts", json={"parts": asked})
    assert answer.status_code == 200, answer.text
    async with httpx.AsyncClient() as direct:
        for signed in answer.json()["parts"]:
            sent = await direct.put(signed["url"], content=parts[signed["number"]], headers=signed["headers"])
            assert sent.status_code == 200, sent.text


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 100_000):
        yield body[at : at + 100_000]


async def objects(edges: Edges, tenant: uuid.UUID) -> int:
    return len([found async for found in edges.store.objects(f"{tenant}/")])


async def unfinished(edges: Edges, tenant: uuid.UUID) -> int:
    return len([found async for found in edges.store.unfinished(f"{tenant}/")])


async def content(caller: Caller, document_id: str) -> bytes:
    return (await caller.get(f"{DOCUMENTS}/{document_id}/content")).content
