"""Two servers under the same load, in turn and briefly, so that what else the machine does falls on both."""

from collections.abc import Callable

import msgspec

from tests.bench import load
from tests.bench.ground import Ground
from tests.bench.load import Load


class Side(msgspec.Struct, frozen=True):
    """requests(): how the next request is made; called before each measurement, so that tokens are fresh."""

    url: str
    requests: Callable[[], Callable[[], bytes]]


class Pair(msgspec.Struct, frozen=True):
    ours: Load
    bare: Load

    @property
    def ratio(self) -> float:
        return self.ours.rate / self.bare.rate


async def measure(ground: Ground, ours: Side, bare: Side, *, connections: int = 16) -> list[Pair]:
    async def run(side: Side, seconds: float) -> Load:
        return await load.run(side.url, side.requests(), seconds=seconds, connections=connections)

    for side in (ours, bare):
        await run(side, min(1.0, ground.sizes.seconds))  # caches, plans, connections
    pairs = []
    for number in range(ground.sizes.pairs):
        first, second = (ours, bare) if number % 2 else (bare, ours)
        one, two = await run(first, ground.sizes.seconds), await run(second, ground.sizes.seconds)
        pairs.append(Pair(one, two) if first is ours else Pair(two, one))
        ground.say(f"{pairs[-1].ours.rate:.0f}/s against {pairs[-1].bare.rate:.0f}/s: {pairs[-1].ratio:.0%}")
    return pairs
