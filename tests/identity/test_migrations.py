from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

import services.identity.app  # noqa: F401 knows all tables
from libs.common.db import Table as CommonTable
from libs.common.db import open_engine
from services.identity.tables import Table
from tests.conftest import UrlsOf

_NOT_OURS = {*CommonTable.metadata.tables, "alembic_version"}


def _difference(connection: Connection) -> list[Any]:
    def is_ours(_: object, name: str | None, kind: str, *__: object) -> bool:
        return kind != "table" or name not in _NOT_OURS

    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": is_ours})
    # The comments of global tables are the migrations' own: libs/common/roles.py.
    return [one for one in compare_metadata(context, Table.metadata) if one[0] != "remove_table_comment"]


async def test_the_models_are_what_the_migrations_make(urls_of: UrlsOf) -> None:
    engine = open_engine((await urls_of("identity")).migrate)
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(_difference) == []
    finally:
        await engine.dispose()
