"""Wait for a fact instead of sleeping."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float = 20) -> None:
    """Raises TimeoutError when it has not come true within so many seconds."""
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)
