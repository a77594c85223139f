"""Consumers take events from JetStream and let each have its effect once, whatever is delivered twice or out of order.

- An event is decoded before a transaction is opened; what cannot be read is set aside at once.
- The inbox row and the effect are one transaction; the broker is told afterwards. A lost acknowledgement is a
  redelivery, which the inbox ends. Order is not promised: who keeps a state compares `row_version`.
- What waits in one tenant goes into one transaction, a few events at a time; where any of them fails, or waits for a
  lock, none has happened and each is taken on its own. While one load is being done the next gathers, so that the more
  there is to do the less each event costs.
- Who holds a row keeps nobody else waiting: an event that does not get its lock soon comes again a little later.
- A handler that raises is tried again after 2, 4, 8 … seconds. At the eighth delivery, or at once for `Rejected`, the
  event becomes a dead letter, and the events behind it flow on.
- An event that comes too early (`NotYet`) is asked for again sooner and for longer.
- While the database is away an event in hand is kept and costs no delivery.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from uuid import UUID

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from libs.common.bus import BROKER_ERRORS, Bus
from libs.common.changes import Event
from libs.common.failpoints import failpoint
from libs.common.inlets import PATIENCE, UNREADABLE, Inlet, NotYet, Received, Rejected
from libs.common.metrics import CONSUMER_HANDLED, CONSUMER_SECONDS

log = structlog.get_logger()

DELIVERIES = 8
"""Tries before an event is set aside: about four minutes."""

HANDS = 4
"""Transactions at once."""

TOGETHER = 25
"""Events in one transaction, at most."""

GATHER = 0.03
"""Seconds between two loads of a tenant: the first event is taken at once, those behind it in fewer transactions."""

FETCH = 2.0
"""Seconds that one pull lingers, and so the time to notice a broker that came back."""

_REST = 0.02  # seconds for those that wait behind the first; others may have taken them meanwhile
_LOCKED = "55P03"


class _Lane(msgspec.Struct):
    """What waits in a tenant, and how many work it off."""

    waiting: list[Msg] = []
    hands: int = 0


class Consumer:
    """Pulls one stream for one service: run() until stop().

    hands: transactions at once. A tenant gets a second one only where a whole load of its events waits.
    """

    def __init__(self, service: str, inlet: Inlet, bus: Bus, *, hands: int = HANDS) -> None:
        self.service = service
        self.inlet = inlet
        self.bus = bus
        self.hands = hands
        self._lanes: dict[str, _Lane] = {}
        self._free = asyncio.Semaphore(hands)
        self._in_hand: dict[str, Msg] = {}  # by reply subject
        self._room = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        self._lanes, self._in_hand = {}, {}  # what an earlier run was cut off from is delivered again
        reminding = asyncio.create_task(self._remind())
        try:
            async with asyncio.TaskGroup() as group:
                await self._pull(group)
        finally:
            reminding.cancel()

    def stop(self) -> None:
        """What is being done is finished, what waits is given back, nothing new taken."""
        self._stopping.set()
        self._room.set()

    async def _pull(self, group: asyncio.TaskGroup) -> None:
        subscription = await self.bus.pull(self.inlet.stream)
        while not self._stopping.is_set():
            try:
                messages = await self._fetch(subscription)
            except TimeoutError:  # nothing there; nats-py raises the builtin one, too
                await asyncio.sleep(0)
            except BROKER_ERRORS:  # without a pause the connection would never get its turn
                await asyncio.sleep(random.uniform(0.1, 0.3))  # noqa: S311
            else:
                for message in messages:
                    self._line_up(message, group)
                await self._until_there_is_room()
        with contextlib.suppress(*BROKER_ERRORS):
            await subscription.unsubscribe()

    async def _fetch(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        """The next one as soon as it comes, with what waits behind it."""
        [first] = await subscription.fetch(1, timeout=FETCH)
        room = self.hands * TOGETHER - len(self._in_hand) - 1
        behind = min(max(first.metadata.num_pending or 0, subscription.pending_msgs), room)
        if not behind:
            return [first]
        try:
            return [first, *await subscription.fetch(behind, timeout=_REST)]
        except BROKER_ERRORS:
            return [first]

    def _line_up(self, message: Msg, group: asyncio.TaskGroup) -> None:
        self._in_hand[message.reply] = message
        tenant = ".".join(message.subject.split(".")[3:4])  # none in a subject that is not ours
        lane = self._lanes.setdefault(tenant, _Lane())
        lane.waiting.append(message)
        if lane.hands * TOGETHER < len(lane.waiting):
            lane.hands += 1
            group.create_task(self._work_off(tenant, lane))

    async def _until_there_is_room(self) -> None:
        while len(self._in_hand) >= self.hands * TOGETHER and not self._stopping.is_set():
            self._room.clear()
            await self._room.wait()

    async def _work_off(self, tenant: str, lane: _Lane) -> None:
        """While one load is being done the next gathers, so that the busier a tenant is the less each event costs."""
        while lane.waiting:
            async with self._free:
                load, lane.waiting = lane.waiting[:TOGETHER], lane.waiting[TOGETHER:]
                await self._take(load)
            for message in load:
                self._in_hand.pop(message.reply, None)
            self._room.set()
            await asyncio.sleep(GATHER)
        lane.hands -= 1
        if not lane.hands:
            del self._lanes[tenant]

    async def _take(self, messages: Sequence[Msg]) -> None:
        """Deliveries to their end. Raises nothing: a broker that is away just delivers again."""
        with contextlib.suppress(*BROKER_ERRORS):
            for message in await self._take_together(messages):
                if self._stopping.is_set():
                    await message.nak()
                    continue
                with CONSUMER_SECONDS.labels(self.inlet.stream).time():
                    outcome = await self._handle(message)
                CONSUMER_HANDLED.labels(self.inlet.stream, outcome).inc()

    async def _take_together(self, messages: Sequence[Msg]) -> list[Msg]:
        """Gives those that are still to be taken one by one, first those that no other has spoilt."""
        alone: list[Msg] = []
        failed: list[Msg] = []
        by_tenant: dict[UUID, list[tuple[Msg, Received[Event]]]] = {}
        for message in messages:
            event = self._readable(message) if message.metadata.num_delivered == 1 else None
            if event is None:
                alone.append(message)
            else:
                by_tenant.setdefault(event.tenant_id, []).append((message, event))
        for pairs in by_tenant.values():
            left = await self._apply_together(pairs)
            (alone if len(left) == 1 else failed).extend(message for message, _ in left)
        return alone + failed

    def _readable(self, message: Msg) -> Received[Event] | None:
        try:
            return self.inlet.read(message.data)
        except UNREADABLE:
            return None

    async def _apply_together(self, pairs: list[tuple[Msg, Received[Event]]]) -> list[tuple[Msg, Received[Event]]]:
        """Gives those that were not done: the one that stands alone, or all from where one of them failed."""
        while len(pairs) > 1 and not self._stopping.is_set():
            started = time.monotonic()
            try:
                done = await self.inlet.apply_together([event for _, event in pairs])
            except Exception as error:
                log.debug("events_taken_one_by_one", stream=self.inlet.stream, error=type(error).__name__)
                break
            failpoint("after_effect_before_ack")
            for message, _ in pairs[:done]:
                CONSUMER_SECONDS.labels(self.inlet.stream).observe(time.monotonic() - started)
                CONSUMER_HANDLED.labels(self.inlet.stream, "done").inc()
                await message.ack()
            pairs = pairs[done:]
        return pairs

    async def _handle(self, message: Msg) -> str:
        deliveries = message.metadata.num_delivered
        try:
            event = self.inlet.read(message.data)
        except UNREADABLE as error:
            return await self._set_aside(message, error)
        if event is None:
            await message.ack()
            return "ignored"
        try:
            applied = await self._apply(event)
        except Exception as error:
            if (isinstance(error, NotYet) or is_locked(error)) and deliveries < 2 * DELIVERIES:
                await message.nak(delay=min(0.2 * 2**deliveries, 60))
                return "early"
            if isinstance(error, Rejected) or deliveries >= DELIVERIES:
                return await self._set_aside(message, error)
            log.warning(
                "event_failed",
                stream=self.inlet.stream,
                tenant_id=str(event.tenant_id),
                event_id=str(event.id),
                deliveries=deliveries,
                exc_info=True,
            )
            await message.nak(delay=pause_after(deliveries))
            return "retried"
        failpoint("after_effect_before_ack")
        await message.ack()
        return "done" if applied else "seen"

    async def _apply(self, event: Received[Event]) -> bool:
        while True:
            try:
                return await self.inlet.apply(event, patience=PATIENCE)
            except Exception as error:
                if not is_away(error) or self._stopping.is_set():
                    raise
                log.warning("database_away", stream=self.inlet.stream, event_id=str(event.id), error=str(error))
                await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311

    async def _set_aside(self, message: Msg, error: Exception) -> str:
        log.error("event_set_aside", stream=self.inlet.stream, subject=message.subject, error=str(error))
        try:
            await self.inlet.set_aside(message.subject, message.data, message.metadata.num_delivered, error)
        except Exception:
            log.exception("dead_letter_not_written", stream=self.inlet.stream, subject=message.subject)
            await message.nak(delay=pause_after(message.metadata.num_delivered))
            return "retried"
        failpoint("after_dead_letter_before_term")
        await message.term()
        return "dead"

    async def _remind(self) -> None:
        """Tell the broker now and then that these are still being worked on."""
        while True:
            await asyncio.sleep(self.bus.sizes.ack_wait / 3)
            for message in tuple(self._in_hand.values()):
                if not message.is_acked:  # one that was answered would begin to wait anew
                    with contextlib.suppress(*BROKER_ERRORS):
                        await message.in_progress()


def pause_after(deliveries: int) -> float:
    """2, 4, 8 … 300 seconds ± 20 %, so that what failed together does not come back together."""
    return min(2.0**deliveries, 300.0) * random.uniform(0.8, 1.2)  # noqa: S311


def is_away(error: Exception) -> bool:
    """True where the database cannot be reached, is starting or has no connection free: not the event's fault."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return error.connection_invalidated or state.startswith(("08", "57P"))
    return isinstance(error, ConnectionError | PoolTimeout)


def is_locked(error: Exception) -> bool:
    """True where somebody else holds what the event would change."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _LOCKED
