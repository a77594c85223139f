import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.conftest import DatabaseOf

pytestmark = pytest.mark.anyio


async def test_what_an_error_says_of_a_statement_leaves_out_its_values(database_of: DatabaseOf) -> None:
    """It goes to the logs whole."""
    database = await database_of("members")
    with pytest.raises(DBAPIError) as raised:
        async with database.session(uuid.uuid4()) as session:
            await session.execute(text("SELECT CAST(:address AS text) FROM nowhere"), {"address": "kim@example.org"})
    assert "nowhere" in str(raised.value)
    assert "kim@example.org" not in str(raised.value)
