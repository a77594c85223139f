"""What an event passes through, on real parts: members' outbox, a broker of its own, identity's inbox and an effect."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
from nats.js import api
from nats.js.errors import NotFoundError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common import failpoints
from libs.common.bus import Bus, Sizes
from libs.common.changes import Event
from libs.common.consumers import Consumer
from libs.common.db import Database
from libs.common.events.subjects import event_subject, stream_of
from libs.common.inlets import Inlet, Received, Subscription, on
from libs.common.relay import Relay
from libs.common.roles import Urls, isolate
from libs.common.settings import Settings
from libs.common.stack.nats import Nats
from libs.common.stack.state import State
from libs.common.streams import declare

MIB = 1024 * 1024


class Happened(Event, frozen=True):
    """An event that only the tests know."""

    name: ClassVar[str] = "members.thing.happened.v1"

    n: int
    note: str = ""


async def keep(session: AsyncSession, event: Received[Happened]) -> None:
    """An effect that shows when it is had twice: a row without a key of its own."""
    await session.execute(
        text(
            "INSERT INTO effects (tenant_id, event_id, row_id, row_version) VALUES (:tenant_id, :event_id, :row_id, :v)"
        ),
        {"tenant_id": event.tenant_id, "event_id": event.id, "row_id": event.row_id, "v": event.row_version},
    )


class Rig:
    def __init__(self, directory: Path, members: Urls, identity: Urls, sizes: Sizes) -> None:
        self.directory, self.members, self.identity, self.sizes = directory, members, identity, sizes
        self.nats = Nats(State(directory / "stack"))
        self.tenant = uuid.uuid4()
        self._buses: list[Bus] = []
        self._databases: list[Database] = []
        self._relays: list[Relay] = []
        self._running: list[asyncio.Task[None]] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    async def bus(self, user: str) -> Bus:
        bus = await self.unconnected_bus(user)
        await bus.connected(60)
        return bus

    async def unconnected_bus(self, user: str) -> Bus:
        bus = Bus(self.nats.urls[user], self.sizes)
        self._buses.append(bus)
        await bus.start()
        return bus

    async def relay(self, *, bus: Bus | None = None, poll: float = 0.05, run: bool = True) -> Relay:
        bus = bus or await self.bus("members")
        if bus not in self._buses:
            self._buses.append(bus)
        relay = Relay("members", self.members.relay, bus, poll=poll)
        self._relays.append(relay)
        if run:
            self._run(relay.run)
        return relay

    async def consumer(self, *subscriptions: Subscription, hands: int = 8, run: bool = True) -> Consumer:
        inlet = Inlet("EV_MEMBERS", subscriptions or [on(Happened, keep)], self.database(self.identity.app))
        consumer = Consumer("identity", inlet, await self.bus("identity"), hands=hands)
        if run:
            self._run(consumer.run)
        return consumer

    def database(self, url: str, **options: Any) -> Database:
        self._databases.append(Database(url, **options))
        return self._databases[-1]

    def _run(self, run: Callable[[], Awaitable[None]]) -> None:
        async def keep_running() -> None:
            while True:  # as the worker does
                with contextlib.suppress(OSError, asyncpg.PostgresError):
                    await run()
                await asyncio.sleep(0.1)

        self._running.append(asyncio.create_task(keep_running()))

    def process(self, service: str, *, failpoint: str = "") -> subprocess.Popen[bytes]:
        """A worker in a process of its own, to be killed or frozen."""
        urls = {"members": self.members, "identity": self.identity}[service]
        environ = os.environ | {
            "DATABASE_URL": urls.app,
            "DATABASE_RELAY_URL": urls.relay,
            "DATABASE_SWEEP_URL": urls.sweep,
            "DATABASE_OPERATOR_URL": urls.operator,
            "NATS_URL": self.nats.urls[service],
            "NATS_STREAM_BYTES": str(self.sizes.max_bytes),
            "KEYS_DIR": "/nowhere",
            "PUBLIC_URL": "http://test",
            "IDENTITY_URL": "http://test",
            failpoints.VARIABLE: failpoint,
        }
        log = (self.directory / f"{service}-{len(self._processes)}.log").open("wb")
        command = [sys.executable, "-m", "tests.common.event_process", service, str(self.sizes.ack_wait)]
        self._processes.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
        log.close()
        return self._processes[-1]

    def settings(self, service: str) -> Settings:
        urls = {"members": self.members, "identity": self.identity}[service]
        return Settings(
            database_url=urls.app,
            database_relay_url=urls.relay,
            database_sweep_url=urls.sweep,
            database_operator_url=urls.operator,
            nats_url=self.nats.urls[service],
            nats_stream_bytes=self.sizes.max_bytes,
            keys_dir=Path("/nowhere"),
            public_url="http://test",
            identity_url="http://test",
        )

    async def record(
        self, n: int = 0, *, row_id: uuid.UUID | None = None, version: int = 1, tenant: uuid.UUID | None = None
    ) -> uuid.UUID:
        """A committed outbox row; gives the event's id."""
        async with self.writing() as connection:
            return await self.write(connection, n, row_id=row_id, version=version, tenant=tenant)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.members.app)
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close()

    async def write(
        self,
        connection: asyncpg.Connection,
        n: int = 0,
        *,
        row_id: uuid.UUID | None = None,
        version: int = 1,
        tenant: uuid.UUID | None = None,
        subject: str = "",
    ) -> uuid.UUID:
        tenant, row_id = tenant or self.tenant, row_id or uuid.uuid4()
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant))
        id: uuid.UUID = await connection.fetchval(
            "INSERT INTO outbox (tenant_id, partition, row_id, row_version, type, subject, data)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
            tenant,
            row_id.int % 16,
            row_id,
            version,
            Happened.name,
            subject or event_subject(Happened.name, tenant, row_id),
            json.dumps({"n": n}),
        )
        return id

    async def outbox(self) -> list[asyncpg.Record]:
        return await self._rows(self.members.migrate, "SELECT * FROM outbox ORDER BY sequence")

    async def unpublished(self) -> int:
        return sum(row["published_at"] is None for row in await self.outbox())

    async def effects(self) -> list[asyncpg.Record]:
        return await self._rows(self.identity.migrate, "SELECT *, xmin::text AS transaction FROM effects")

    async def dead_letters(self) -> list[asyncpg.Record]:
        return await self._rows(self.identity.migrate, "SELECT * FROM dead_letters ORDER BY id")

    async def _rows(self, url: str, sql: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql)
            return rows
        finally:
            await connection.close()

    async def stream(self, name: str = "EV_MEMBERS") -> list[dict[str, Any]]:
        """All envelopes in the stream, in its order."""
        bus = await self.bus("platform")
        config = api.ConsumerConfig(name=f"look-{uuid.uuid4().hex}", ack_policy=api.AckPolicy.NONE)
        info = await bus.js.add_consumer(name, config)
        messages: list[dict[str, Any]] = []
        look = await bus.js.pull_subscribe_bind(consumer=info.name, stream=name)
        total = (await bus.js.stream_info(name)).state.messages
        while len(messages) < total:
            messages += [json.loads(one.data) for one in await look.fetch(min(500, total - len(messages)), timeout=5)]
        await look.unsubscribe()
        with contextlib.suppress(NotFoundError):
            await bus.js.delete_consumer(name, info.name)
        return messages

    async def length(self, name: str = "EV_MEMBERS") -> int:
        bus = await self.bus("platform")
        messages: int = (await bus.js.stream_info(name)).state.messages
        await bus.close()
        return messages

    async def publish(self, subject: str, body: bytes, *, bus: Bus | None = None) -> None:
        """As the relay would, whatever the body is."""
        bus = bus or await self.bus("members")
        await bus.publish(stream_of(subject), subject, body, id=uuid.uuid4().hex)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        for bus in self._buses:
            await bus.close()
        for relay in self._relays:
            await relay.close()
        for database in self._databases:
            await database.close()
        self.nats.stop()


@contextlib.asynccontextmanager
async def open_rig(members: Urls, identity: Urls, sizes: Sizes) -> AsyncIterator[Rig]:
    """Databases are the caller's and emptied first; the broker is new."""
    for urls in (members, identity):
        connection = await asyncpg.connect(urls.migrate)
        await connection.execute("TRUNCATE outbox, inbox, dead_letters, audit")
        if urls is identity:
            await connection.execute(EFFECTS)
        await connection.close()
    with tempfile.TemporaryDirectory(prefix="rig-") as directory:
        rig = Rig(Path(directory), members, identity, sizes)
        rig.nats.start()
        try:
            await declare(await rig.bus("platform"))
            yield rig
        finally:
            await rig.close()


EFFECTS = f"""
DROP TABLE IF EXISTS effects;
CREATE TABLE effects (tenant_id uuid, id uuid DEFAULT uuidv7(), event_id uuid, row_id uuid, row_version bigint,
    PRIMARY KEY (tenant_id, id));
{isolate("effects", "identity")}
"""


async def until(condition: Callable[[], Awaitable[object]], *, within: float = 60, every: float = 0.05) -> None:
    """Wait for a condition; fails when it does not come true."""
    end = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(every)


def inversions(messages: Iterable[dict[str, Any]]) -> int:
    """Events that came for the first time after a later one of their row."""
    newest: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    found = 0
    for message in messages:
        if message["id"] not in seen:
            seen.add(message["id"])
            found += message["rowversion"] < newest[message["subject"]]
            newest[message["subject"]] = max(newest[message["subject"]], message["rowversion"])
    return found


async def write_versions(rig: Rig, rows: list[uuid.UUID], versions: int, *, pause: float = 0) -> None:
    """A writer: each row's versions one after the other, as the lock on the aggregate's row makes them."""
    connection = await asyncpg.connect(rig.members.app)
    try:
        for version in range(1, versions + 1):
            for row_id in random.sample(rows, len(rows)):
                async with connection.transaction():
                    await rig.write(connection, row_id=row_id, version=version)
            await asyncio.sleep(pause)
    finally:
        await connection.close()
