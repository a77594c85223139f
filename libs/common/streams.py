"""The streams and durable consumers on the broker, made as they are declared and checked against it.

Only `control-centre streams declare` makes or changes them, as the NATS user `platform`; a service checks and refuses
to become ready where the broker would lose what the declaration keeps.
"""

from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from nats.js import api
from nats.js.errors import NotFoundError

from libs.common.bus import Bus, Sizes
from libs.common.events.subjects import DURABLES, MINUTE, STREAMS, Durable, Stream

MAX_DELIVER = 20
"""Never lowered (the broker would drop in silence); consumers make a dead letter long before."""

DUPLICATE_WINDOW = 5.0 * MINUTE


class Drift(Exception):
    """The broker's streams or consumers are not the declared ones; the message lists what differs."""


async def declare(bus: Bus, *, update: bool = False) -> list[str]:
    """Make the streams and durable consumers that are not there; gives what was done, a line each.

    One that is there and differs raises Drift, or is changed where `update` says so (the broker refuses some changes).
    """
    done = [line for stream in STREAMS if (line := await _declare_stream(bus, stream, update))]
    return done + [line for durable in DURABLES if (line := await _declare_durable(bus, durable, update))]


async def check(bus: Bus, names: Iterable[str]) -> None:
    """Raises Drift unless these streams, and the user's own durable consumers on them, are as declared."""
    for stream in STREAMS:
        if stream.name in names:
            _compare(
                stream.name, _stream_config(stream, bus.sizes), (await _found(bus.js.stream_info(stream.name))).config
            )
    for durable in DURABLES:
        if durable.stream in names and durable.service == bus.user:
            found = await _found(bus.js.consumer_info(durable.stream, durable.service))
            _compare(f"{durable.stream}/{durable.service}", _durable_config(durable, bus.sizes), found.config)


async def _declare_stream(bus: Bus, stream: Stream, update: bool) -> str | None:
    wanted = _stream_config(stream, bus.sizes)
    try:
        found = await bus.js.stream_info(stream.name)
    except NotFoundError:
        await bus.js.add_stream(api.StreamConfig(**wanted))
        return f"{stream.name} made"
    try:
        _compare(stream.name, wanted, found.config)
    except Drift as drift:
        if not update:
            raise
        await bus.js.update_stream(api.StreamConfig(**wanted))
        return f"{drift}: updated"
    return None


async def _declare_durable(bus: Bus, durable: Durable, update: bool) -> str | None:
    wanted, label = _durable_config(durable, bus.sizes), f"{durable.stream}/{durable.service}"
    try:
        found = await bus.js.consumer_info(durable.stream, durable.service)
    except NotFoundError:
        await bus.js.add_consumer(durable.stream, api.ConsumerConfig(**wanted))
        return f"{label} made"
    try:
        _compare(label, wanted, found.config)
    except Drift as drift:
        if not update:
            raise
        await bus.js.add_consumer(durable.stream, api.ConsumerConfig(**wanted))
        return f"{drift}: updated"
    return None


def _stream_config(stream: Stream, sizes: Sizes) -> dict[str, Any]:
    return {
        "name": stream.name,
        "subjects": list(stream.subjects),
        "storage": api.StorageType.FILE,
        "retention": api.RetentionPolicy.LIMITS,
        "discard": api.DiscardPolicy.OLD if stream.drop_oldest else api.DiscardPolicy.NEW,
        "num_replicas": sizes.replicas,
        "max_bytes": sizes.max_bytes,
        "max_age": float(stream.max_age),
        "max_msgs_per_subject": 1 if stream.newest_only else -1,
        "duplicate_window": DUPLICATE_WINDOW,
        "deny_delete": True,
        "deny_purge": True,
        "allow_direct": False,
        "persist_mode": api.PersistMode.DEFAULT,
    }


def _durable_config(durable: Durable, sizes: Sizes) -> dict[str, Any]:
    return {
        "name": durable.service,
        "durable_name": durable.service,
        "filter_subjects": list(durable.subjects),
        "deliver_policy": api.DeliverPolicy.ALL,
        "ack_policy": api.AckPolicy.EXPLICIT,
        "ack_wait": sizes.ack_wait,
        "max_deliver": MAX_DELIVER,
        "max_ack_pending": 1000,  # those waiting for another try count here, and must not stop the others
        "num_replicas": sizes.replicas,
    }


def _compare(label: str, wanted: Mapping[str, object], found: object) -> None:
    differing = [
        f"{field} is {_plain(getattr(found, field))}, declared {_plain(value)}"
        for field, value in wanted.items()
        if _plain(getattr(found, field)) != _plain(value)
    ]
    if differing:
        raise Drift(f"{label}: " + "; ".join(differing))


def _plain(value: object) -> object:
    value = getattr(value, "value", value)
    return None if value in (None, "", False, "default") else value  # the broker leaves defaults out of its answers


async def _found[T](answer: Awaitable[T]) -> T:
    try:
        return await answer
    except NotFoundError as error:
        raise Drift("Streams are not declared yet: run `control-centre streams declare`") from error
