"""What is refused before its token expires: a table in memory, fed by the stream REVOKED and asked on every request.

The stream keeps the last message per subject for 15 minutes, longer than any token lives, so the whole truth is read in
a moment. Until it has been read once nobody is let in (503). After that the table goes on serving whatever happens to
NATS, and is read again from the start when the connection, the consumer or a message was lost (repetition changes
nothing). How long the broker has been silent is a metric, for while it is silent revocations wait for the token's end.

    revoked.membership.<member id>   {"av": N}           tokens and keys of this member below N
    revoked.session.<session id>     {}                  every token of this session
    revoked.key.<key id>             {}                  every token of this key
    revoked.tenant.<tenant id>       {"closed": bool}    everything of this tenant, until it is opened again
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.js import api

from libs.common.bus import BROKER_ERRORS, BrokerAway, Bus
from libs.common.errors import Unavailable
from libs.common.events.subjects import inbox_of
from libs.common.metrics import REVOCATION_STALENESS
from libs.common.tokens import Actor

KEPT = 15 * 60.0
STREAM = "REVOKED"

_BEAT = 1.0  # the broker says that it is there when it has nothing to say
_SILENCE = 3.5  # after so many seconds without a word the table is read again
_LOOK = 0.1
_FORGET = 30.0
_log = structlog.get_logger()


class Notice(NamedTuple):
    """What identity publishes, through its outbox."""

    subject: str
    data: dict[str, object]


def membership_below(member_id: UUID, av: int) -> Notice:
    return Notice(f"revoked.membership.{member_id}", {"av": av})


def session_ended(session_id: UUID | str) -> Notice:
    return Notice(f"revoked.session.{session_id}", {})


def key_ended(key_id: UUID | str) -> Notice:
    return Notice(f"revoked.key.{key_id}", {})


def tenant_closed(tenant_id: UUID, *, closed: bool = True) -> Notice:
    return Notice(f"revoked.tenant.{tenant_id}", {"closed": closed})


class _Body(msgspec.Struct):
    av: int = 0
    closed: bool = False


class Revocations:
    """Run `run()` as a task of the process. `ready` once the table has been read to its end."""

    def __init__(self, bus: Bus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.ready = False
        self._bus, self._clock = bus, clock
        self._heard = self._forgot = clock()
        self._refused: dict[tuple[str, str], tuple[int, float]] = {}
        """(kind, id): below which av (sessions, keys, tenants: 0), until when it is kept."""

    def refuses(self, actor: Actor) -> bool:
        """Raises Unavailable until the table has been read once."""
        if not self.ready:
            raise Unavailable(retry_after=1)
        refused = self._refused
        if not refused:
            return False
        below, _ = refused.get(("membership", str(actor.id)), (0, 0))
        return (
            actor.authorisation_version < below
            or ("key" if actor.kind == "key" else "session", actor.session_id) in refused
            or ("tenant", str(actor.tenant_id)) in refused
        )

    def silent_for(self) -> float:
        """Seconds since the broker was last heard, if only with a heartbeat."""
        return self._clock() - self._heard

    async def run(self) -> None:
        """Until cancelled; no failure ends it."""
        REVOCATION_STALENESS.set_function(self.silent_for)
        while True:
            try:
                await self._bus.connected(within=5)
                await self._read()
            except (BrokerAway, *BROKER_ERRORS) as error:
                _log.warning("revocations_not_read", error=str(error) or type(error).__name__, ready=self.ready)
            self._forget()
            await asyncio.sleep(2 * _LOOK)

    def apply(self, subject: str, body: bytes) -> None:
        """What one message says. Never raises: a message that cannot be read must not stop the others."""
        try:
            _, kind, id = subject.split(".")
            said = msgspec.json.decode(body or b"{}", type=_Body)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            _log.error("revocation_unreadable", subject=subject, error=str(error))
            return
        if kind == "tenant" and not said.closed:
            self._refused.pop((kind, id), None)
            return
        below, _ = self._refused.get((kind, id), (0, 0.0))
        self._refused[kind, id] = max(below, said.av), self._clock() + KEPT

    def _forget(self) -> None:
        now = self._clock()
        if now - self._forgot >= _FORGET:
            self._forgot = now
            self._refused = {what: entry for what, entry in self._refused.items() if entry[1] > now}

    async def _read(self) -> None:
        """Read from the start and follow, until something is amiss."""
        reading = _Reading(self)
        inbox = f"{inbox_of(self._bus.user)}.revoked.{secrets.token_hex(8)}"
        subscription = await self._bus.subscribe(inbox, reading.heard)
        try:
            consumer = await self._bus.js.add_consumer(
                STREAM,
                api.ConsumerConfig(
                    deliver_subject=inbox,
                    deliver_policy=api.DeliverPolicy.ALL,
                    ack_policy=api.AckPolicy.NONE,
                    max_deliver=1,
                    mem_storage=True,
                    num_replicas=1,
                    idle_heartbeat=_BEAT,
                    inactive_threshold=10.0,
                ),
            )
            self.mark_heard()
            if not consumer.num_pending and not (consumer.delivered and consumer.delivered.consumer_seq):
                self.mark_read()
            while self._bus.is_connected and not reading.gap and self.silent_for() < _SILENCE:
                self._forget()
                await asyncio.sleep(_LOOK)
            _log.info("revocations_read_again", gap=reading.gap, connected=self._bus.is_connected)
        finally:
            with contextlib.suppress(*BROKER_ERRORS):
                await subscription.unsubscribe()

    def mark_heard(self) -> None:
        self._heard = self._clock()

    def mark_read(self) -> None:
        if not self.ready:
            self.ready = True
            _log.info("revocations_read", entries=len(self._refused))


class _Reading:
    """One pass over the stream by one consumer: its messages are numbered, and a missing number ends the pass."""

    def __init__(self, table: Revocations) -> None:
        self.gap = False
        self._table, self._last = table, 0

    async def heard(self, message: Msg) -> None:
        if self.gap:
            return  # of a consumer that is given up: what is missing is read by the next
        headers = message.headers or {}
        if headers.get("Status"):
            self._beat(int(headers.get("Nats-Last-Consumer", self._last)))
            return
        place = message.metadata
        if place.sequence is None or place.sequence.consumer != self._last + 1:
            self.gap = True
            return
        self._last += 1
        self._table.apply(message.subject, message.data)
        self._table.mark_heard()
        if not place.num_pending:
            self._table.mark_read()

    def _beat(self, last: int) -> None:
        """The broker has nothing more to send: what it has sent is here, or was lost."""
        if last != self._last:
            self.gap = True
            return
        self._table.mark_heard()
        self._table.mark_read()
