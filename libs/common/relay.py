"""The relay carries a service's outbox to JetStream: at least once, and in order for each row.

- It selects by state, never by position: a transaction that commits late is found all the same.
- A partition belongs to one relay for one transaction, by an advisory lock, so any number of relays may run.
- A round takes some events of some partitions that wait. A wave of it holds at most one event of a row, so that nothing
  overtakes; after its first failure a partition rests, and the others go on without it.
- An event is marked only when the broker has acknowledged it. A crash before that publishes it again under the same id.
- It is woken by hints and looks every 200 ms on its own. A frozen relay is cut off by the database after 15 s and by
  its own clock before that, and another one takes over.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus import BROKER_ERRORS, Bus
from libs.common.db import open_engine
from libs.common.envelopes import Envelope, seal
from libs.common.events.subjects import stream_of
from libs.common.failpoints import failpoint
from libs.common.metrics import OUTBOX_OLDEST, OUTBOX_WAITING, RELAY_FAILURES, RELAY_PUBLISHED
from libs.common.scrub import scrub

log = structlog.get_logger()

POLL = 0.2
BATCH = 25
"""Events of one partition in a round."""
AT_ONCE = 8
"""Partitions in a round: others are left for other relays, and are not held by one that freezes."""
HOLD = 8.0
"""Seconds for which partitions are held at most: below the database's 15 s with a publish's 5 s on top."""

_WAITING = text(
    "SELECT partition FROM generate_series(0, 15) AS partition"
    " WHERE EXISTS (SELECT FROM outbox WHERE outbox.partition = partition.partition AND published_at IS NULL)"
)
# Two statements: the select must see what was committed before the lock was given.
_LOCK = text(
    "SELECT partition FROM unnest(CAST(:partitions AS integer[])) AS partition"
    " WHERE pg_try_advisory_xact_lock(4242, partition)"
)
_SELECT = text(
    "SELECT partition, tenant_id, id, created_at, row_id, row_version, type, subject, data::text AS data, traceparent"
    " FROM unnest(CAST(:partitions AS integer[])) AS mine CROSS JOIN LATERAL ("
    " SELECT * FROM outbox WHERE partition = mine AND published_at IS NULL ORDER BY sequence LIMIT :batch) AS waiting"
    " ORDER BY partition, sequence"
)
_MARK = text(
    "UPDATE outbox"
    " SET published_at = clock_timestamp(), stream_seq = done.seq, attempts = attempts + 1, last_error = NULL"
    " FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:seqs AS bigint[])) AS done (tenant_id, id, seq)"
    " WHERE outbox.tenant_id = done.tenant_id AND outbox.id = done.id"
)
_BLAME = text(
    "UPDATE outbox SET attempts = attempts + 1, last_error = :error WHERE tenant_id = :tenant_id AND id = :id"
)
_BACKLOG = text(
    "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)"
    " FROM outbox WHERE published_at IS NULL"
)


class Row(msgspec.Struct, frozen=True):
    """An outbox row as it goes out."""

    partition: int
    tenant_id: UUID
    id: UUID
    created_at: datetime
    row_id: UUID
    row_version: int
    type: str
    subject: str
    data: str
    traceparent: str | None

    def body(self, service: str) -> bytes:
        """Events in an envelope; a revocation is read by its subject and is plain JSON."""
        raw = self.data.encode()
        if not self.subject.startswith("ev."):
            return raw
        return seal(
            Envelope(
                id=self.id,
                type=self.type,
                source=f"/{service}",
                subject=self.row_id,
                time=self.created_at,
                tenantid=self.tenant_id,
                rowversion=self.row_version,
                data=msgspec.Raw(raw),
                traceparent=self.traceparent,
            )
        )


def waves(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Cut rows, in order, into waves with at most one event of a row each."""
    rest = list(rows)
    while rest:
        wave: dict[UUID, Row] = {}
        later = []
        for row in rest:
            if row.row_id in wave:
                later.append(row)
            else:
                wave[row.row_id] = row
        yield list(wave.values())
        rest = later


class Relay:
    """run() until stop(). url: the service's relay role, which sees the outbox of all tenants and nothing else."""

    def __init__(self, service: str, url: str, bus: Bus, *, poll: float = POLL) -> None:
        self.service = service
        self.poll = poll
        self.bus = bus
        self.engine = open_engine(url, pool_size=2, max_overflow=0)
        self._looking = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._woken = asyncio.Event()
        self._stopping = False
        self._rests: dict[int, tuple[float, float]] = {}  # partition: (until, for how long)

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        measured = 0.0
        while not self._stopping:
            self._woken.clear()
            sent = await self._round()
            if time.monotonic() > measured + 5:
                await self._measure()
                measured = time.monotonic()
            if not sent:
                await self._pause()

    def stop(self) -> None:
        """What is in flight is finished, nothing new begun."""
        self._stopping = True
        self._woken.set()

    async def close(self) -> None:
        await self.engine.dispose()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self.poll):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _round(self) -> int:
        """Carry some events of partitions that wait and do not rest; gives the number of events sent."""
        async with self._looking.connect() as connection:
            partitions = (await connection.scalars(_WAITING)).all()
        now = time.monotonic()
        due = [partition for partition in partitions if self._rests.get(partition, (0.0, 0.0))[0] <= now]
        return await self._carry(random.sample(due, min(len(due), AT_ONCE))) if due else 0

    async def _carry(self, partitions: Sequence[int]) -> int:
        try:
            async with self.engine.begin() as connection:
                mine = (await connection.scalars(_LOCK, {"partitions": partitions})).all()
                if not mine:
                    return 0  # another relay has them
                until = time.monotonic() + HOLD
                found = await connection.execute(_SELECT, {"partitions": mine, "batch": BATCH})
                rows = [Row(*row) for row in found]
                failpoint("after_commit_before_publish")
                return await self._publish(connection, rows, until)
        except (SQLAlchemyError, OSError) as error:
            # Cut off while frozen, or the database is away: what was not marked goes out again.
            log.warning("relay_lost_partitions", service=self.service, partitions=partitions, error=str(error))
            for partition in partitions:
                self._rest(partition)
            return 0

    async def _publish(self, connection: AsyncConnection, rows: Sequence[Row], until: float) -> int:
        sent = 0
        stuck: set[int] = set()
        for whole in waves(rows):
            if self._stopping or time.monotonic() > until:
                return sent
            wave = [row for row in whole if row.partition not in stuck]
            answers = await asyncio.gather(*(self._send(row) for row in wave))
            failpoint("after_publish_before_mark")
            done = [(row, seq) for row, seq in zip(wave, answers, strict=True) if isinstance(seq, int)]
            await self._mark(connection, done)
            sent += len(done)
            for row, error in zip(wave, answers, strict=True):
                if isinstance(error, Exception) and row.partition not in stuck:
                    await self._blame(connection, row, error)
                    self._rest(row.partition)
                    stuck.add(row.partition)
        for partition in {row.partition for row in rows} - stuck:
            self._rests.pop(partition, None)
        return sent

    async def _send(self, row: Row) -> int | Exception:
        """The event's place in the stream, or why it has none."""
        try:
            return await self.bus.publish(
                stream_of(row.subject), row.subject, row.body(self.service), id=str(row.id), within=5
            )
        except (*BROKER_ERRORS, ValueError) as error:
            return error

    async def _mark(self, connection: AsyncConnection, done: list[tuple[Row, int]]) -> None:
        if not done:
            return
        values: dict[str, Any] = {
            "tenants": [row.tenant_id for row, _ in done],
            "ids": [row.id for row, _ in done],
            "seqs": [seq for _, seq in done],
        }
        await connection.execute(_MARK, values)
        RELAY_PUBLISHED.inc(len(done))

    async def _blame(self, connection: AsyncConnection, row: Row, error: Exception) -> None:
        RELAY_FAILURES.inc()
        said = scrub(f"{type(error).__name__}: {error}")[:500]
        log.warning("event_not_published", service=self.service, event_id=str(row.id), type=row.type, error=said)
        await connection.execute(_BLAME, {"tenant_id": row.tenant_id, "id": row.id, "error": said})

    def _rest(self, partition: int) -> None:
        """0.1 s after the first failure, twice as long after each further one, 5 s at most."""
        _, last = self._rests.get(partition, (0.0, 0.05))
        rest = min(last * 2, 5.0)
        self._rests[partition] = (time.monotonic() + rest, rest)

    async def _measure(self) -> None:
        async with self._looking.connect() as connection:
            count, age = (await connection.execute(_BACKLOG)).one()
        OUTBOX_WAITING.set(count)
        OUTBOX_OLDEST.set(float(age))
