"""A service's worker: the relay, the consumers, the sweeps; what a process `control-centre work SERVICE` runs.

Each part is started again when it fails, so that a broken one takes nothing with it. The worker is ready when the
broker holds what was declared. It stops within ten seconds, with the broker away too: nothing new is taken, what is in
hand is finished, then the connections are closed.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import msgspec
import structlog
from sqlalchemy import text

from libs.common import audit
from libs.common.bus import BROKER_ERRORS, BrokerAway, Bus, Sizes
from libs.common.consumers import Consumer
from libs.common.db import Database, open_engine
from libs.common.events.subjects import events_of
from libs.common.housekeeping import clear
from libs.common.inlets import Subscription, inlets
from libs.common.metrics import CONSUMER_LAG, DEAD_LETTERS, gauge
from libs.common.relay import Relay
from libs.common.settings import Settings
from libs.common.streams import Drift, check
from libs.common.sweeps import BATCH, Sweep, sweep_once

log = structlog.get_logger()

ADVISORIES = gauge(
    "consumer_advisories", "The broker's own alarms: events out of deliveries, or ended.", "consumer", "kind"
)

_HANDS = 4.0
"""Seconds to finish what is in hand; then it is cancelled, rolled back and delivered again."""
_LAST_ROUND = 2.0
_DEAD_LETTERS = text("SELECT consumer, count(*) AS letters FROM dead_letters WHERE state = 'open' GROUP BY consumer")


class BrokerLost(Exception):
    """The connection was closed for good (by the server, or a wrong password). End the process and start it again."""


class Task(msgspec.Struct, frozen=True):
    """Anything else that has to run: called again whenever it ends, until the worker stops."""

    name: str
    run: Callable[["Worker"], Awaitable[None]]


class Worker:
    def __init__(
        self,
        service: str,
        settings: Settings,
        *,
        handlers: Iterable[Subscription] = (),
        sweeps: Iterable[Sweep] = (),
        tasks: Iterable[Task] = (),
    ) -> None:
        self.service = service
        self.bus = Bus(settings.nats_url, Sizes(settings.nats_replicas, settings.nats_stream_bytes))
        self.relay = Relay(service, settings.database_relay_url, self.bus)
        self.database = Database(settings.database_url, pool_size=settings.database_pool, committed=self.relay.wake)
        self.sweeper = open_engine(settings.database_sweep_url, pool_size=2, isolation_level="AUTOCOMMIT")
        self.inlets = inlets(list(handlers), self.database)
        self.sweeps = [audit.CHAIN, *sweeps]
        self.tasks = list(tasks)
        self.stopping = asyncio.Event()
        self._declared = asyncio.Event()
        self._consumers = [Consumer(service, inlet, self.bus) for inlet in self.inlets]

    @property
    def ready(self) -> bool:
        return self._declared.is_set() and not self.stopping.is_set()

    async def run(self) -> None:
        """Until stop(). Raises BrokerLost when the connection to the broker was closed for good."""
        await self.bus.start()
        consuming = [
            self._start(f"consume {one.inlet.stream}", one.run, after=self._declared) for one in self._consumers
        ]
        relaying = self._start("relay", self.relay.run, after=self._declared)
        watching = [
            self._start("check", self._check),
            self._start("measure", self._measure, after=self._declared),
        ]
        others = [
            self._start("clear", self._clear),
            *(self._start(f"sweep {sweep.name}", partial(self._sweep, sweep)) for sweep in self.sweeps),
            *(self._start(task.name, partial(task.run, self)) for task in self.tasks),
        ]
        try:
            await _first_of(self.stopping, self.bus.lost)
        finally:
            self.stopping.set()
            for consumer in self._consumers:
                consumer.stop()
            await _finish(watching, within=0)  # they have nothing in hand, and may be waiting for a broker
            await _finish([*consuming, *others], within=_HANDS)
            self.relay.stop()
            await _finish([relaying], within=_LAST_ROUND)
            await self.close()
        if self.bus.lost.is_set():
            raise BrokerLost(f"NATS has closed the connection of {self.service}, or refuses its password")

    def stop(self) -> None:
        self.stopping.set()

    async def close(self) -> None:
        """For those who use a worker's handlers without running it; run() does it itself."""
        await self.bus.close()
        await self.relay.close()
        await self.sweeper.dispose()
        await self.database.close()

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than the worker runs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    def _start(
        self, name: str, run: Callable[[], Awaitable[None]], *, after: asyncio.Event | None = None
    ) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep_running(name, run, after), name=name)

    async def _keep_running(self, name: str, run: Callable[[], Awaitable[None]], after: asyncio.Event | None) -> None:
        if after is not None:
            await _first_of(after, self.stopping)
        pause = 0.1
        while not self.stopping.is_set():
            started = time.monotonic()
            try:
                await run()
            except Exception:
                log.exception("part_failed", part=name)
            pause = 0.1 if time.monotonic() - started > 30 else min(pause * 2, 5.0)
            await self.pause(pause)

    async def _check(self) -> None:
        streams = {events_of(self.service), "REVOKED", *(inlet.stream for inlet in self.inlets)}
        while not self.ready and not self.stopping.is_set():
            try:
                await self.bus.connected()
                await check(self.bus, streams)
                await self.bus.on_hint(self.relay.wake)
                self._declared.set()
                log.info("worker_ready", worker=self.service)
            except (Drift, BrokerAway, *BROKER_ERRORS) as error:
                log.error("broker_not_as_declared", error=str(error) or type(error).__name__)
                await self.pause(2)
        await self.stopping.wait()

    async def _sweep(self, sweep: Sweep) -> None:
        while not self.stopping.is_set():
            found, done = await sweep_once(sweep, self.database, self.sweeper, stopping=self.stopping.is_set)
            if found < BATCH or not done:
                await self.pause(sweep.every)

    async def _clear(self) -> None:
        while not self.stopping.is_set():
            log.info("cleared", **await clear(self.relay.engine))
            await self.pause(3600)

    async def _measure(self) -> None:
        while not self.stopping.is_set():
            await self._measure_dead_letters()
            with contextlib.suppress(*BROKER_ERRORS):
                await self._measure_broker()
            await self.pause(15)

    async def _measure_dead_letters(self) -> None:
        async with self.sweeper.connect() as connection:
            still_open = {row.consumer: row.letters for row in await connection.execute(_DEAD_LETTERS)}
        for inlet in self.inlets:
            DEAD_LETTERS.labels(inlet.stream).set(still_open.get(inlet.stream, 0))

    async def _measure_broker(self) -> None:
        for inlet in self.inlets:
            consumer = await self.bus.js.consumer_info(inlet.stream, self.service)
            CONSUMER_LAG.labels(inlet.stream).set((consumer.num_pending or 0) + (consumer.num_ack_pending or 0))
        mine = f"$JS.EVENT.ADVISORY.CONSUMER.*.*.{self.service}"
        advisories = await self.bus.js.stream_info("ADVISORIES", subjects_filter=mine)
        for subject, count in (advisories.state.subjects or {}).items():
            *_, kind, stream, _ = subject.split(".")
            ADVISORIES.labels(stream, kind.lower()).set(count)


async def run_until_signalled(worker: Worker) -> None:
    """For a process of its own: SIGTERM and SIGINT end it in order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    await worker.run()


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _finish(tasks: Sequence[asyncio.Task[None]], *, within: float) -> None:
    _, late = await asyncio.wait(tasks, timeout=within)
    for task in late:
        if within:
            log.warning("part_cancelled", part=task.get_name())
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
