"""identity on its clone of a migrated database: events come in by hand, answers are read from the outbox."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from httpx import AsyncClient
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db import Database, open_engine
from libs.common.inlets import Inlet
from libs.common.roles import Urls
from services.identity.app import create_app
from services.identity.beats.rules import handlers as beats
from services.identity.doors import Doors
from services.identity.memberships.handlers import handlers as memberships
from services.identity.settings import Settings
from services.identity.tenants.handlers import handlers as tenants
from tests.conftest import ISSUER, ClientOf, TokenFor, UrlsOf, make_core
from tests.identity.oidc import Connected, connected
from tests.identity.story import As, World


def settings_on(urls: Urls, keys_dir: Path) -> Settings:
    """Passwords cost nearly nothing, and nothing is on the bus."""
    return Settings(
        database_url=urls.app,
        database_relay_url=urls.relay,
        database_sweep_url=urls.sweep,
        database_operator_url=urls.operator,
        nats_url="nats://nobody@127.0.0.1:1",
        keys_dir=keys_dir,
        public_url=ISSUER,
        identity_url=ISSUER,
        password_time_cost=1,
        password_memory_kib=8,
        outgoing_loopback=True,
    )


@pytest.fixture(scope="module")
async def settings(urls_of: UrlsOf, keys_dir: Path) -> Settings:
    return settings_on(await urls_of("identity"), keys_dir)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """A loop for each file: the stories here leave connections to nowhere behind."""
    return "asyncio"


@pytest.fixture(scope="module")
async def app(settings: Settings, keys_dir: Path) -> AsyncIterator[Litestar]:
    database = Database(settings.database_url)
    app = create_app(settings, make_core("identity", database, keys_dir))
    async with app.lifespan():
        yield app
    await database.close()


@pytest.fixture
async def world(app: Litestar) -> AsyncIterator[World]:
    doors: Doors = app.state.doors
    world = World(app, doors, Inlet("EV_MEMBERS", [*tenants, *memberships, *beats], doors.database))
    await world.beats(timedelta(hours=1))
    yield world
    await world.close()
    app.state.doors = doors  # a story may have put something else in its place


@pytest.fixture
def as_(app: Litestar, client_of: ClientOf, token_for: TokenFor) -> As:
    """as_("admin", tenant_id, id=member_id), as_(None): a client that calls with somebody's token."""

    def client(who: str | set[str] | None, tenant: UUID | None = None, **claims: object) -> AsyncClient:
        return client_of(app, token_for(who, tenant, **claims) if who else None)

    return client


@pytest.fixture
async def acme(world: World, as_: As) -> AsyncIterator[Connected]:
    """A tenant with its own provider."""
    async with connected(world, as_) as acme:
        yield acme


@asynccontextmanager
async def sweeper_of(world: World) -> AsyncIterator[AsyncEngine]:
    """As the worker's sweeps look: by the sweep role, which sees due rows of all tenants and nothing else."""
    engine = open_engine(world.doors.settings.database_sweep_url, isolation_level="AUTOCOMMIT")
    try:
        yield engine
    finally:
        await engine.dispose()
