import asyncio
from uuid import UUID

import click

from services.documents.reconcile import YOUNG, reconcile
from services.documents.settings import load


@click.group()
def commands() -> None:
    """Files and the store they are kept in."""


@commands.command("reconcile")
@click.option("--repair", is_flag=True, help="Delete orphans, forget unfinished uploads, mark lost documents.")
@click.option("--tenant", type=click.UUID, help="Only this tenant's.")
def reconcile_command(repair: bool, tenant: UUID | None) -> None:
    """Compare the store with the database, both ways; ends with 1 where something was found and not repaired."""
    if asyncio.run(_reconcile(repair, tenant)):
        raise SystemExit(1)


async def _reconcile(repair: bool, tenant: UUID | None) -> int:
    """Gives the number of findings that are still there."""

    from libs.common.db import Database, open_engine
    from services.documents.edges import Edges
    from services.documents.scanner import Scanner
    from services.documents.store import Store

    settings = load()
    database = Database(settings.database_url, pool_size=2)
    sweeper = open_engine(settings.database_sweep_url)
    edges = Edges(database, Store(settings), Scanner(""))
    left = found = 0
    try:
        async with edges.store.running():
            async for finding in reconcile(edges, sweeper, repair=repair, young=YOUNG, tenant_id=tenant):
                click.echo(f"{finding.kind:<11} {finding.key}{'  repaired' if finding.repaired else ''}")
                found += 1
                left += not finding.repaired
    finally:
        await sweeper.dispose()
        await database.close()
    click.echo(f"{found} found, {found - left} repaired")
    return left
