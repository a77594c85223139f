import asyncio

import click

from services.identity.doors import open_doors
from services.identity.operators.rules import NewOperator, create_operator
from services.identity.settings import load


@click.group()
def commands() -> None:
    """Operators of this installation."""


@commands.command()
@click.argument("address")
def create(address: str) -> None:
    """Make an operator; prints a one-time password and a TOTP secret, once."""
    made = asyncio.run(_create(address))
    click.echo(f"address   {address}\npassword  {made.password}  (once: the first sign-in sets another)")
    click.echo(f"totp      {made.totp_secret}")


async def _create(address: str) -> NewOperator:
    from libs.common.db import Database

    settings = load()
    database = Database(settings.database_url, pool_size=1)
    try:
        return await create_operator(open_doors(settings, database), address)
    finally:
        await database.close()
