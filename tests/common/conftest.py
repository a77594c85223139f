"""The rig: two services' databases of this worker, a broker for each test."""

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from libs.common.bus import Sizes
from libs.common.migrations import common_tables
from libs.common.roles import Urls, provision
from tests.common.rig import MIB, Rig, open_rig
from tests.conftest import PASSWORDS


@pytest.fixture(scope="session")
def rig_databases() -> dict[str, Urls]:
    """Of their own: a rig empties them. Made by the first that needs them."""
    return {}


@pytest.fixture
def sizes() -> Sizes:
    """Overridden where a test needs a small stream or a short wait."""
    return Sizes(max_bytes=64 * MIB)


@pytest.fixture
async def rig(postgres: str, rig_databases: dict[str, Urls], sizes: Sizes) -> AsyncIterator[Rig]:
    for service in {"members", "identity"} - rig_databases.keys():
        rig_databases[service] = await _bare_database(postgres, service)
    async with open_rig(rig_databases["members"], rig_databases["identity"], sizes) as rig:
        yield rig


async def _bare_database(admin: str, service: str) -> Urls:
    """Only the tables that every service has."""
    name = f"rig_{service}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    urls = await provision(admin, service, PASSWORDS, database=name)
    connection = await asyncpg.connect(urls.migrate)
    await connection.execute(common_tables(service))
    await connection.close()
    return urls
