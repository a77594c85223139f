"""The migrated database is what the models say."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, pool
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

import services.notifier.app
import services.notifier.worker  # noqa: F401 both, so that every table is known
from services.notifier.tables import Table
from tests.conftest import UrlsOf


def _mine(_: Any, name: str | None, kind: str, reflected: bool, __: Any) -> bool:
    """Indexes stand in migrations only; the tables that every service has are compared elsewhere."""
    return kind not in ("index",) and not (kind == "table" and reflected and name not in Table.metadata.tables)


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": _mine})
    return [
        one
        for one in compare_metadata(context, Table.metadata)
        if one[0] not in ("remove_fk", "remove_table_comment")  # these too
    ]


async def test_models_equal_migrations(urls_of: UrlsOf) -> None:
    url = make_url((await urls_of("notifier")).migrate).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
    await engine.dispose()
