"""Two servers under the same load, in turn and briefly, so that what else the machine does falls on both."""

import statistics
from collections.abc import Callable, Sequence

import msgspec

from tests.bench import load
from tests.bench.ground import Ground, Process
from tests.bench.load import Load
from tests.bench.usage import cpu_seconds


class Side(msgspec.Struct, frozen=True):
    """requests(): how the next request is made; called before each measurement, so that tokens are fresh."""

    process: Process
    requests: Callable[[], Callable[[], bytes]]


class Run(msgspec.Struct, frozen=True):
    load: Load
    cpu: float
    """Seconds of processor time that one request took the process, the database's left out."""


class Pair(msgspec.Struct, frozen=True):
    ours: Run
    bare: Run

    @property
    def ratio(self) -> float:
        return self.ours.load.rate / self.bare.load.rate


async def measure(ground: Ground, ours: Side, bare: Side, *, connections: int = 16) -> list[Pair]:
    async def run(side: Side, seconds: float) -> Run:
        before = cpu_seconds(side.process.pid)
        found = await load.run(side.process.url, side.requests(), seconds=seconds, connections=connections)
        return Run(found, (cpu_seconds(side.process.pid) - before) / max(found.requests, 1))

    for side in (ours, bare):
        await run(side, min(1.0, ground.sizes.seconds))  # caches, plans, connections
    pairs = []
    for number in range(ground.sizes.pairs):
        first, second = (ours, bare) if number % 2 else (bare, ours)
        one, two = await run(first, ground.sizes.seconds), await run(second, ground.sizes.seconds)
        pairs.append(Pair(one, two) if first is ours else Pair(two, one))
        ground.say(describe(pairs[-1:]))
    return pairs


def describe(pairs: Sequence[Pair]) -> str:
    def middle(read: Callable[[Pair], float]) -> float:
        return statistics.median(read(pair) for pair in pairs)

    ours, bare = middle(lambda pair: pair.ours.cpu), middle(lambda pair: pair.bare.cpu)
    return (
        f"{middle(lambda pair: pair.ours.load.rate):.0f}/s against {middle(lambda pair: pair.bare.load.rate):.0f}/s;"
        f" processor time of the process a request {ours * 1000:.2f} ms against {bare * 1000:.2f} ms, which is"
        f" {bare / ours:.0%}; p95 {middle(lambda pair: pair.ours.load.quantile(0.95)) * 1000:.0f} ms against"
        f" {middle(lambda pair: pair.bare.load.quantile(0.95)) * 1000:.0f} ms"
    )
