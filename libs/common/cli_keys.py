"""`control-centre keys …`: add a key, show which there are. Never prints a key."""

import os
from pathlib import Path

import click

from libs.common import keys as files


def _directory(_: click.Context, __: click.Parameter, value: Path | None) -> Path:
    if value is None:
        raise click.UsageError("Say where the keys are: set KEYS_DIR, or give --directory.")
    return value


@click.group("keys", help="Keys that sign and encrypt: KEYS_DIR/<purpose>/<kid>.")
def commands() -> None:
    pass


_where = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: os.environ.get("KEYS_DIR"),
    callback=_directory,
    help="Where the keys are; KEYS_DIR if not given.",
)


@commands.command()
@click.argument("purpose", type=click.Choice(files.PURPOSES))
@_where
def rotate(purpose: str, directory: Path) -> None:
    """Add a key for PURPOSE. It signs from ten minutes on; the old ones go on verifying until you delete them."""
    try:
        click.echo(f"{purpose} {files.rotate(directory, purpose)}")
    except (files.KeyProblem, OSError) as problem:
        raise click.ClickException(str(problem)) from problem


@commands.command("list")
@_where
def list_(directory: Path) -> None:
    """Show the kids of every purpose, oldest first."""
    for purpose in files.PURPOSES:
        click.echo(f"{purpose}: {', '.join(files.kids(directory, purpose)) or 'none'}")
