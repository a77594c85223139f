"""The connection to NATS.

It reconnects for ever and holds nothing back: while the broker is away every call fails at once, nothing is sent later
behind the caller's back, and whoever calls in a loop has to sleep. PostgreSQL is the record, the broker a transport.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext, api

from libs.common.events.subjects import hint_of, inbox_of

log = structlog.get_logger()

# An answer to a request of ours, or none: try again later. nats-py raises the builtin TimeoutError too.
BROKER_ERRORS = (nats.errors.Error, TimeoutError, OSError)


class BrokerAway(Exception):
    """No connection within the given time; the message says where to and why."""


class Sizes(msgspec.Struct, frozen=True):
    """What differs between a laptop, a test and a cluster."""

    replicas: int = 1
    max_bytes: int = 256 * 1024 * 1024
    """Of each stream. The broker refuses more than its own store."""
    ack_wait: float = 30
    """Seconds until the broker gives an event that nobody answered for to somebody else."""


class Bus:
    """One connection of one NATS user (in the URL). start() does not wait; what needs the broker calls connected()."""

    def __init__(self, url: str, sizes: Sizes = Sizes()) -> None:  # noqa: B008 it is frozen
        self.sizes = sizes
        self._servers = url.split(",")
        self.user = unquote(urlsplit(self._servers[0]).username or "nobody")
        self.lost = asyncio.Event()  # for good, though nobody asked: the process should end, and be started again
        self._client = Client()
        self.js = JetStreamContext(self._client, timeout=5)
        self._connecting: asyncio.Task[None] | None = None
        self._hinting: asyncio.Task[None] | None = None
        self._hinted = asyncio.Event()
        self._closing = False
        self._last_error = ""

    @property
    def is_connected(self) -> bool:
        return bool(self._client.is_connected)

    async def start(self) -> None:
        self._connecting = asyncio.create_task(self._connect(), name="nats-connect")
        self._hinting = asyncio.create_task(self._send_hints(), name="nats-hints")

    async def connected(self, within: float = 5) -> None:
        """Raises BrokerAway when there is no connection within so many seconds."""
        deadline = asyncio.get_running_loop().time() + within
        while not self.is_connected:
            if asyncio.get_running_loop().time() > deadline:
                places = ", ".join(urlsplit(server).netloc.rpartition("@")[2] for server in self._servers)
                raise BrokerAway(f"No connection to NATS at {places} as {self.user}: {self._last_error or 'no answer'}")
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Ends within seconds, whatever state the connection is in."""
        self._closing = True
        for task in (self._connecting, self._hinting):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        with contextlib.suppress(*BROKER_ERRORS):
            async with asyncio.timeout(2):
                if self.is_connected:
                    await self._client.flush(timeout=1)  # the last acknowledgements
                if self._connecting is not None:
                    await self._client.close()

    async def publish(self, stream: str, subject: str, body: bytes, *, id: str, within: float = 5) -> int:
        """Into a stream, acknowledged by it; gives the place there. Raises one of BROKER_ERRORS when it may not be."""
        self._require_connection()
        ack = await self.js.publish(subject, body, timeout=within, stream=stream, headers={api.Header.MSG_ID.value: id})
        return ack.seq

    def hint(self) -> None:
        """Wake this service's relay, perhaps: never waits, never fails, and several at once become one."""
        self._hinted.set()

    async def on_hint(self, wake: Callable[[], None]) -> None:
        async def heard(_: Msg) -> None:
            wake()

        await self._client.subscribe(hint_of(self.user), cb=heard)

    async def request(self, subject: str, body: bytes, *, within: float = 2) -> bytes:
        """Ask another service and wait for its answer. Raises one of BROKER_ERRORS when none comes."""
        self._require_connection()
        answer = await self._client.request(subject, body, timeout=within)
        return bytes(answer.data)

    async def respond(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer requests, shared among this service's processes. An error is logged, and the asker's wait runs out."""

        async def heard(message: Msg) -> None:
            try:
                await message.respond(await answer(message.data))
            except Exception:
                log.exception("request_not_answered", subject=message.subject)

        await self._client.subscribe(subject, queue=self.user, cb=heard)

    async def pull(self, stream: str) -> JetStreamContext.PullSubscription:
        """A subscription of its own to this user's durable consumer on the stream."""
        return await self.js.pull_subscribe_bind(consumer=self.user, stream=stream)

    async def subscribe(self, subject: str, heard: Callable[[Msg], Awaitable[None]]) -> Subscription:
        return await self._client.subscribe(subject, cb=heard)

    def _require_connection(self) -> None:
        # nats-py would refuse as well, but leave a future behind for each refusal.
        if not self.is_connected:
            raise nats.errors.OutboundBufferLimitError

    async def _connect(self) -> None:
        await self._client.connect(
            self._servers,
            name=f"control-centre-{self.user}",
            inbox_prefix=inbox_of(self.user),
            max_reconnect_attempts=-1,
            reconnect_time_wait=random.uniform(0.2, 0.8),  # type: ignore[arg-type]  # noqa: S311
            connect_timeout=2,
            ping_interval=10,  # a connection that is only half there is noticed within 30 s
            max_outstanding_pings=2,
            pending_size=0,
            drain_timeout=3,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            closed_cb=self._on_close,
        )
        log.info("broker_connected", user=self.user)

    async def _send_hints(self) -> None:
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            with contextlib.suppress(*BROKER_ERRORS):
                await self._client.publish(hint_of(self.user))
            await asyncio.sleep(0.002)

    async def _on_error(self, error: Exception) -> None:
        said = str(error) or type(error).__name__
        tell = log.debug if said == self._last_error else log.warning  # once, not at each try to reconnect
        tell("broker_error", user=self.user, error=said)
        self._last_error = said
        if "authorization violation" in said.lower():
            self.lost.set()  # this process will never have another password

    async def _on_disconnect(self) -> None:
        if not self._closing:
            log.warning("broker_disconnected", user=self.user)

    async def _on_reconnect(self) -> None:
        self._last_error = ""
        log.info("broker_reconnected", user=self.user)

    async def _on_close(self) -> None:
        if not self._closing:
            log.error("broker_connection_closed", user=self.user, error=self._last_error)
            self.lost.set()
