"""`control-centre streams …`, `events …`, `dead-letters …`, `audit …`: what an operator does about these by hand.

They take the environment of the service that they are about (`streams`: NATS_URL of the user `platform`).
"""

import asyncio
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import click
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import audit as audit_chain
from libs.common import streams as broker
from libs.common.bus import BROKER_ERRORS, BrokerAway, Bus, Sizes
from libs.common.db import Database, open_engine
from libs.common.events.subjects import SERVICES
from libs.common.inlets import Inlet
from libs.common.republish import republish as send_again
from libs.common.scrub import scrub
from libs.common.settings import Settings, SettingsError
from libs.common.worker import Worker

_service = click.argument("service", type=click.Choice(SERVICES))
_when = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


def _run[T](work: Coroutine[Any, Any, T]) -> T:
    try:
        with _only_errors():
            return asyncio.run(work)
    except (broker.Drift, BrokerAway, *BROKER_ERRORS) as problem:
        raise click.ClickException(str(problem) or type(problem).__name__) from problem


@contextlib.contextmanager
def _only_errors() -> Iterator[None]:
    """What goes to stdout is the command's answer; of the log, errors go to stderr."""
    before = structlog.get_config()
    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        yield
    finally:
        structlog.configure(**before)


def _settings(service: str) -> Settings:
    try:
        settings: Settings = importlib.import_module(f"services.{service}.settings").load(os.environ)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    return settings


async def _with_bus[T](url: str, sizes: Sizes, work: Callable[[Bus], Awaitable[T]]) -> T:
    bus = Bus(url, sizes)
    await bus.start()
    try:
        await bus.connected()
        return await work(bus)
    finally:
        await bus.close()


@click.group(help="The streams and durable consumers on the broker.")
def streams() -> None:
    pass


@streams.command()
@click.option("--update", is_flag=True, help="Change what is there and differs; without it a difference is an error.")
@click.option("--replicas", envvar="NATS_REPLICAS", default=1, show_default=True, help="Of each stream.")
@click.option("--bytes", "size", envvar="NATS_STREAM_BYTES", default=256 * 1024**2, show_default=True)
def declare(update: bool, replicas: int, size: int) -> None:
    """Make the streams and consumers that are not there. Needs NATS_URL of the user `platform`; safe to repeat."""
    url = os.environ.get("NATS_URL") or ""
    if not url:
        raise click.UsageError("Set NATS_URL to the address of the user `platform`.")
    done = _run(_with_bus(url, Sizes(replicas, size), lambda bus: broker.declare(bus, update=update)))
    click.echo("\n".join(done) or "Everything is as declared.")


@click.group(help="Events that have been recorded.")
def events() -> None:
    pass


@events.command()
@_service
@click.option("--from", "since", type=_when, required=True, help="UTC; events recorded from then …")
@click.option("--to", "until", type=_when, help="… until then, not included; now if not given.")
@click.option("--tenant", type=click.UUID, help="Only this tenant's.")
@click.option("--type", "type_", help="Only this type, such as members.member.saved.v1.")
def republish(service: str, since: datetime, until: datetime | None, tenant: UUID | None, type_: str | None) -> None:
    """Send SERVICE's events again, in order; consumers do again only what they have not done."""
    settings = _settings(service)
    to = until.replace(tzinfo=UTC) if until else datetime.now(UTC)

    async def send(bus: Bus) -> int:
        with click.progressbar(length=0, label="Sent", show_pos=True, show_eta=False, show_percent=False) as bar:
            return await send_again(
                service,
                settings.database_relay_url,
                bus,
                since=since.replace(tzinfo=UTC),
                until=to,
                tenant=tenant,
                type=type_,
                progress=lambda sent: bar.update(sent - bar.pos),
            )

    click.echo(f"{_run(_with_bus(settings.nats_url, Sizes(), send))} events sent again.")


@click.group("dead-letters", help="Events that failed for good, and wait for a person.")
def dead_letters() -> None:
    pass


_LIST = text(
    "SELECT id, tenant_id, consumer, event_id, created_at, deliveries, error FROM dead_letters"
    " WHERE state = 'open' ORDER BY id"
)
_FIND = text("SELECT consumer, raw FROM dead_letters WHERE id = :id AND state = 'open'")
_CLOSE = text("UPDATE dead_letters SET state = :state WHERE id = :id AND state = 'open'")

_ids = click.argument("ids", type=click.UUID, nargs=-1)
_all = click.option("--all", "every", is_flag=True, help="All that are open.")


@dead_letters.command("list")
@_service
def list_(service: str) -> None:
    """The open ones: id, when, consumer, tenant, event, tries, why. Never what the event says."""

    async def show(connection: AsyncConnection) -> None:
        for row in await connection.execute(_LIST):
            about = f"{row.consumer}  tenant {row.tenant_id}  event {row.event_id}  {row.deliveries} tries"
            click.echo(f"{row.id}  {row.created_at:%Y-%m-%dT%H:%M:%SZ}  {about}  {row.error}")

    _run(_as(_settings(service).database_operator_url, show))


@dead_letters.command()
@_service
@_ids
@_all
def retry(service: str, ids: tuple[UUID, ...], every: bool) -> None:
    """Let the event have its effect now. One that fails again stays open, and the command ends with 1."""
    worker: Worker = importlib.import_module(f"services.{service}.worker").create_worker(_settings(service))
    failed = _run(retry_letters(worker, _settings(service), ids, every=every))
    if failed:
        raise click.ClickException(f"{failed} failed again and stay open.")


@dead_letters.command()
@_service
@_ids
@_all
def drop(service: str, ids: tuple[UUID, ...], every: bool) -> None:
    """Decide that the event shall have no effect."""

    async def close(connection: AsyncConnection) -> None:
        for id in await _chosen(connection, ids, every):
            dropped = (await connection.execute(_CLOSE, {"id": id, "state": "dropped"})).rowcount
            click.echo(f"{id} {'dropped' if dropped else 'is not open'}")

    _run(_as(_settings(service).database_operator_url, close))


async def retry_letters(worker: Worker, settings: Settings, ids: tuple[UUID, ...], *, every: bool) -> int:
    """The number of those that failed again."""
    inlets = {inlet.stream: inlet for inlet in worker.inlets}

    async def close(connection: AsyncConnection) -> int:
        failed = 0
        for id in await _chosen(connection, ids, every):
            letter = (await connection.execute(_FIND, {"id": id})).one_or_none()
            if letter is None:
                click.echo(f"{id} is not open")
            elif await _retry(inlets.get(letter.consumer), id, letter.raw):
                await connection.execute(_CLOSE, {"id": id, "state": "retried"})
            else:
                failed += 1
        return failed

    try:
        return await _as(settings.database_operator_url, close)
    finally:
        await worker.close()


async def _retry(inlet: Inlet | None, id: UUID, raw: bytes) -> bool:
    try:
        event = inlet.read(raw) if inlet else None
        if inlet is None or event is None:
            click.echo(f"{id} nobody listens to it any more")
            return True
        done = await inlet.apply(event)
    except Exception as error:
        click.echo(scrub(f"{id} failed: {type(error).__name__}: {error}"))
        return False
    click.echo(f"{id} {'done' if done else 'had its effect before'}")
    return True


async def _chosen(connection: AsyncConnection, ids: tuple[UUID, ...], every: bool) -> list[UUID]:
    if bool(ids) == every:
        raise click.UsageError("Name the ids, or say --all.")
    return [row.id for row in await connection.execute(_LIST)] if every else list(ids)


async def _as[T](url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    engine = open_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            return await work(connection)
    finally:
        await engine.dispose()


@click.group(help="What was written down about who did what.")
def audit() -> None:
    pass


@audit.command()
@_service
@click.option("--tenant", type=click.UUID, help="Only this tenant's.")
def verify(service: str, tenant: UUID | None) -> None:
    """Walk each tenant's chain: entries, the newest value (keep it elsewhere), and what is wrong. Ends with 1 then."""
    settings = _settings(service)
    broken = _run(_verify(settings, tenant))
    if broken:
        raise click.ClickException(f"The audit of {broken} tenants was changed.")


async def _verify(settings: Settings, tenant: UUID | None) -> int:
    async def tenants(connection: AsyncConnection) -> list[UUID]:
        return [row.tenant_id for row in await connection.execute(text("SELECT DISTINCT tenant_id FROM audit"))]

    broken, database = 0, Database(settings.database_url)
    try:
        for one in [tenant] if tenant else await _as(settings.database_sweep_url, tenants):
            async with database.session(one) as session:
                verdict = await audit_chain.verify(session)
            broken += verdict.wrong is not None
            said = verdict.wrong or f"{verdict.rows} entries, {verdict.unchained} to be chained, {verdict.head.hex()}"
            click.echo(f"{one}  {said}")
    finally:
        await database.close()
    return broken
