"""What stands on the bus: streams, durable consumers, and which service may touch which subject.

Everything is data, read by three: `control-centre streams declare` makes the streams and consumers, the NATS server
takes its users from `authorization`, and a service's start checks that the broker agrees.

A service may publish its own events and hints, pull from its own durable consumers and read REVOKED; nothing else.
Creating a consumer on another service's stream would be a way around that, so only `platform` may.
"""

from collections.abc import Mapping

import msgspec

SERVICES = ("identity", "members", "documents", "notifier")

MINUTE = 60
DAY = 24 * 60 * MINUTE


class Allowed(msgspec.Struct, frozen=True):
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    respond: bool = False  # to whoever asked, within ten seconds; for those that answer rpc.*


class Stream(msgspec.Struct, frozen=True):
    """Kept on disk by age. A full stream refuses new messages: the outbox holds them, and nothing unread is dropped."""

    name: str
    subjects: tuple[str, ...]
    max_age: int  # seconds
    newest_only: bool = False  # one message per subject
    drop_oldest: bool = False  # where the broker itself is the producer and cannot be told to wait


class Durable(msgspec.Struct, frozen=True):
    """One service's place in one stream. The name is the service's, so that its permissions can be read off."""

    stream: str
    service: str
    subjects: tuple[str, ...]


def events_of(service: str) -> str:
    return f"EV_{service.upper()}"


def inbox_of(user: str) -> str:
    return f"_INBOX_{user}"


def hint_of(service: str) -> str:
    return f"hint.{service}"


def event_subject(type: str, tenant_id: object, row_id: object) -> str:
    """ev.<service>.<aggregate>.<tenant>.<aggregate id>, from a type `<service>.<aggregate>.<fact>.v<n>`."""
    service, aggregate, _ = type.split(".", 2)
    return f"ev.{service}.{aggregate}.{tenant_id}.{row_id}"


def stream_of(subject: str) -> str:
    """The stream that a subject is published into. Raises ValueError for a subject that no stream keeps."""
    match subject.split("."):
        case ["ev", service, _, _, _] if service in SERVICES:
            return events_of(service)
        case ["revoked", _, _]:
            return "REVOKED"
    raise ValueError(f"no stream keeps {subject!r}")


STREAMS: tuple[Stream, ...] = (
    *(Stream(events_of(service), (f"ev.{service}.>",), max_age=14 * DAY) for service in SERVICES),
    Stream("REVOKED", ("revoked.>",), max_age=15 * MINUTE, newest_only=True),
    Stream(
        "ADVISORIES",
        ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>"),
        max_age=30 * DAY,
        drop_oldest=True,
    ),
)

# Who listens to whom. Types that a service has no handler for are acknowledged and counted.
DURABLES: tuple[Durable, ...] = tuple(
    Durable(events_of(producer), consumer, (f"ev.{producer}.>",))
    for consumer, producers in {
        "identity": ("members",),
        "members": ("identity", "documents", "notifier"),
        "documents": ("members", "identity"),
        "notifier": ("members", "identity", "documents"),
    }.items()
    for producer in producers
)

_EXTRA: Mapping[str, Allowed] = {
    "identity": Allowed(publish=("revoked.>", "rpc.members.>"), subscribe=()),
    "members": Allowed(publish=(), subscribe=("rpc.members.>",), respond=True),
}

# Reading REVOKED from its start takes a consumer of one's own, made on the spot and forgotten when idle.
_REVOKED = (
    "$JS.API.STREAM.INFO.REVOKED",
    "$JS.API.CONSUMER.CREATE.REVOKED",
    "$JS.API.CONSUMER.CREATE.REVOKED.>",
    "$JS.API.CONSUMER.INFO.REVOKED.*",
    "$JS.API.CONSUMER.DELETE.REVOKED.*",
    "$JS.FC.REVOKED.>",
)


def _allowed(service: str) -> Allowed:
    durables = [durable for durable in DURABLES if durable.service == service]
    extra = _EXTRA.get(service, Allowed((), ()))
    return Allowed(
        publish=(
            f"ev.{service}.>",
            hint_of(service),
            f"$JS.API.STREAM.INFO.{events_of(service)}",
            "$JS.API.STREAM.INFO.ADVISORIES",
            *_REVOKED,
            *(subject for durable in durables for subject in _pull(durable)),
            *extra.publish,
        ),
        subscribe=(f"{inbox_of(service)}.>", hint_of(service), *extra.subscribe),
        respond=extra.respond,
    )


def _pull(durable: Durable) -> tuple[str, ...]:
    place = f"{durable.stream}.{durable.service}"
    return (
        f"$JS.API.STREAM.INFO.{durable.stream}",
        f"$JS.API.CONSUMER.INFO.{place}",
        f"$JS.API.CONSUMER.MSG.NEXT.{place}",
        f"$JS.ACK.{place}.>",
        f"$JS.ACK.*.*.{place}.>",  # since server 2.15 with domain and account in front
    )


NATS_USERS: Mapping[str, Allowed] = {
    "platform": Allowed(publish=("$JS.API.>",), subscribe=(f"{inbox_of('platform')}.>",)),
    **{service: _allowed(service) for service in SERVICES},
}


def authorization(passwords: Mapping[str, str]) -> dict[str, object]:
    """The `authorization` block of a nats-server's configuration (JSON is valid there), one user per service."""
    return {"users": [_user(name, passwords[name], allowed) for name, allowed in NATS_USERS.items()]}


def _user(name: str, password: str, allowed: Allowed) -> dict[str, object]:
    permissions: dict[str, object] = {"publish": list(allowed.publish), "subscribe": list(allowed.subscribe)}
    if allowed.respond:
        permissions["allow_responses"] = {"max": 1, "expires": "10s"}
    return {"user": name, "password": password, "permissions": permissions}
