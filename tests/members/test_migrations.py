"""The migrated database is what the models say."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from libs.common.db import open_engine
from services.members import app as _every_table_is_imported  # noqa: F401
from services.members.tables import Table
from tests.conftest import UrlsOf


async def test_models_equal_migrations(urls_of: UrlsOf) -> None:
    engine = open_engine((await urls_of("members")).migrate)

    def differences(connection: Connection) -> list[object]:
        ours = set(Table.metadata.tables)
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, _: kind != "table" or name in ours, "compare_type": True},
        )
        found = compare_metadata(context, Table.metadata)
        return [one for one in found if one[0] != "remove_table_comment"]  # why it is global, said by share()

    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    assert found == []
