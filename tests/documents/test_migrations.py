"""The models are what the migrations make."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine

import services.documents.worker  # every table is imported by it  # noqa: F401
from services.documents.tables import Table
from tests.conftest import UrlsOf


async def test_models_equal_migrations(urls_of: UrlsOf) -> None:
    url = (await urls_of("documents")).migrate.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url)

    def differences(connection: Connection) -> list[object]:
        own = set(Table.metadata.tables)
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda item, name, kind, *_: (
                    kind not in ("index", "unique_constraint") and (kind != "table" or name in own)
                ),
            },
        )
        assert own <= set(inspect(connection).get_table_names())
        return list(compare_metadata(context, Table.metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
