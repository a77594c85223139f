"""Probes and figures, for the cluster only: they stand beside the service's prefix, so that no gateway passes them on.

/livez     the event loop turns, and no watched work has stood still; asks nobody else
/readyz    every named check passes; else 503, Retry-After and the names of those that do not
/metrics   what Prometheus reads
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec
import structlog
from litestar import Litestar, Response, Router, get

from libs.common import metrics
from libs.common.auth import PUBLIC

CHECK_SECONDS = 2.0
BEAT = 0.5
STANDSTILL = 15.0
"""Seconds without a heartbeat after which the process is better started again."""

type Check = Callable[[], Awaitable[None]]
_log = structlog.get_logger()


class Alive(msgspec.Struct):
    alive: bool
    standing_still: list[str]


class Ready(msgspec.Struct, omit_defaults=True):
    ready: bool
    missing: list[str]
    away: list[str] = []
    """Parts without which only some requests fail: told, and no reason to send no request here."""


class Heart:
    """A task that notes each turn of the event loop, so that one that is starved or stuck shows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.last = clock()

    async def beat(self) -> None:
        """Until cancelled."""
        while True:
            expected = self.last + BEAT
            await asyncio.sleep(BEAT)
            self.last = self._clock()
            metrics.EVENT_LOOP_LAG.set(max(0.0, self.last - expected))

    def stands_still(self) -> bool:
        return self._clock() - self.last > STANDSTILL

    @contextlib.asynccontextmanager
    async def running(self, _: Litestar | None = None) -> AsyncIterator[None]:
        """For the application's lifespan."""
        self.last = self._clock()
        beating = asyncio.create_task(self.beat(), name="heartbeat")
        try:
            yield
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating


class Readiness:
    """Asks the checks all at once. Says in the log when a part goes and comes, not at every probe."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._missing: set[str] = set()

    async def missing(self) -> list[str]:
        found = await asyncio.gather(*(self._is_missing(name, check) for name, check in self._checks.items()))
        return sorted(name for name, missing in zip(self._checks, found, strict=True) if missing)

    async def _is_missing(self, name: str, check: Check) -> bool:
        why = ""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await check()
        except Exception as error:
            why = type(error).__name__
        if bool(why) != (name in self._missing):
            self._missing ^= {name}
            _log.warning("part_missing", part=name, error=why) if why else _log.info("part_back", part=name)
        metrics.NOT_READY.labels(name).set(bool(why))
        return bool(why)


def routes(
    service: str,
    checks: Mapping[str, Check],
    *,
    heart: Heart | None = None,
    watched: Mapping[str, Callable[[], bool]] | None = None,
    told: Mapping[str, Check] | None = None,
) -> list[Router]:
    """told: checks that do not decide. watched: work that must move, by name; true while it stands still (a worker that
    neither works nor idles).
    """
    readiness, information = Readiness(checks), Readiness(told or {})
    watching = dict(watched or {})
    if heart is not None:
        watching["event_loop"] = heart.stands_still

    @get("/livez", permission=PUBLIC, sync_to_thread=False)
    def livez() -> Response[Alive]:
        still = sorted(name for name, stands in watching.items() if stands())
        return Response(Alive(not still, still), status_code=503 if still else 200)

    @get("/readyz", permission=PUBLIC)
    async def readyz() -> Response[Ready]:
        missing, away = await asyncio.gather(readiness.missing(), information.missing())
        headers = {"Retry-After": "1"} if missing else {}
        return Response(Ready(not missing, missing, away), status_code=503 if missing else 200, headers=headers)

    @get("/metrics", permission=PUBLIC, sync_to_thread=False)
    def read_metrics() -> Response[bytes]:
        return Response(metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    return [Router("/", route_handlers=[livez, readyz, read_metrics], include_in_schema=False, tags=[service])]


def probe_app(service: str, checks: Mapping[str, Check], watched: Mapping[str, Callable[[], bool]]) -> Litestar:
    """The whole HTTP side of a process that only works: `control-centre work SERVICE --port`."""
    heart = Heart()
    return Litestar(
        route_handlers=[*routes(service, checks, heart=heart, watched=watched)],
        lifespan=[heart.running],
        openapi_config=None,
        logging_config=None,
    )
