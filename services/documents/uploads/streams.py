"""Bytes on their way into the store: flat memory, whatever their number."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable

from services.documents.store import PART_SIZE, Part, Place, Store
from services.documents.tenants.rules import FileTooLarge
from services.documents.uploads.inspection import Inspection


async def store_stream(
    store: Store,
    place: Place,
    chunks: AsyncIterable[bytes],
    inspection: Inspection,
    *,
    most: int,
    begun: Callable[[str], Awaitable[None]],
) -> None:
    """Inspect and store, in parts where it is longer than one. Two parts are in memory at most: one that is being
    filled, one that is being sent. begun is told the multipart upload's id before its first part is sent.

    Raises FileTooLarge after `most` bytes, StoreAway, and what chunks and begun raise.
    """
    multipart_id, sent = "", list[Part]()
    filling = bytearray()
    sending: asyncio.Task[Part] | None = None
    try:
        async for chunk in chunks:
            if inspection.size + len(chunk) > most:
                raise FileTooLarge(most=most)
            await inspection.feed(chunk)
            filling += chunk
            if len(filling) < PART_SIZE:
                continue
            if not multipart_id:
                multipart_id = await store.begin(place)
                await begun(multipart_id)
            if sending is not None:
                sent.append(await sending)
            sending = asyncio.create_task(store.put_part(place, multipart_id, len(sent) + 1, filling))
            filling = bytearray()
        if sending is None:
            await store.put(place, filling)
            return
        sent.append(await sending)
    except BaseException:
        if sending is not None:
            sending.cancel()
        raise
    if filling:
        sent.append(await store.put_part(place, multipart_id, len(sent) + 1, filling))
    await store.finish(place, multipart_id, sent)
