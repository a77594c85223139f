"""`control-centre serve | work | migrate`: what a container runs. They read their service's environment."""

import asyncio
import os

import click

from libs.common.events.subjects import SERVICES

_service = click.argument("service", type=click.Choice(SERVICES))
_host = click.option("--host", envvar="HOST", default="127.0.0.1", show_default=True)


@click.command()
@_service
@_host
@click.option("--port", envvar="PORT", default=8000, show_default=True)
@click.option("--work", is_flag=True, help="Run the worker in the same process, for small installations.")
def serve(service: str, host: str, port: int, work: bool) -> None:
    """Answer HTTP for SERVICE."""
    from libs.common import process
    from libs.common.settings import SettingsError

    try:
        process.serve(service, host, port, work=work)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


@click.command()
@_service
@_host
@click.option("--port", type=int, envvar="PORT", help="Where /livez, /readyz and /metrics are served; nowhere without.")
def work(service: str, host: str, port: int | None) -> None:
    """Publish and handle events, and run what is due, for SERVICE."""
    from libs.common import process
    from libs.common.settings import SettingsError

    try:
        process.work(service, host, port)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


@click.command()
@_service
def migrate(service: str) -> None:
    """Migrate the database of SERVICE at DATABASE_MIGRATE_URL; safe to repeat, and to run twice at once."""
    from libs.common import migrations

    url = os.environ.get("DATABASE_MIGRATE_URL")
    if not url:
        raise click.UsageError("DATABASE_MIGRATE_URL is not set: the address of the role that owns the tables.")
    asyncio.run(migrations.migrate(service, url))
