"""`control-centre keys …`: add a key, show which there are. Never prints a key."""

from pathlib import Path

import click

from libs.common import keys as files

_where = click.option(
    "--directory",
    envvar="KEYS_DIR",
    show_envvar=True,
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the keys are.",
)


@click.group("keys", help="Keys that sign and encrypt: KEYS_DIR/<purpose>/<kid>.")
def commands() -> None:
    pass


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
