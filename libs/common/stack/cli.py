"""`control-centre dev`."""

import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".stack"),
    show_default=True,
    help="Where everything is kept.",
)
@click.option("--demo/--no-demo", default=True, show_default=True, help="Make the demo tenants.")
def dev(state: Path, demo: bool) -> None:
    """Start PostgreSQL, NATS, S3, mail, the four services and one gateway for them; PORT moves it.

    POSTGRES_URL, NATS_URL, S3_ENDPOINT and SMTP_URL name parts to use instead of our own.
    """
    from libs.common.stack.dev import run

    sys.exit(run(state, demo=demo))
