import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from httpx import AsyncClient
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db import Database, open_engine
from libs.common.keys import KeyRing
from libs.common.links import Links
from services.notifier.app import create_app
from services.notifier.messages.house import House
from services.notifier.messages.sender import Sender
from services.notifier.messages.smtp import Relay
from services.notifier.settings import Settings
from tests.conftest import ISSUER, ClientOf, CoreOf, DatabaseOf, TokenFor, UrlsOf
from tests.notifier.post import Catcher, Post

MAIL_FROM = "post@mail.control-centre.test"

SenderOf = Callable[..., Sender]
As = Callable[..., AsyncClient]


@pytest.fixture(scope="session")
def catcher_process() -> Iterator[Catcher]:
    with tempfile.TemporaryDirectory() as folder:
        catcher = Catcher(Path(folder))
        yield catcher
        catcher.stop()


@pytest.fixture
def catcher(catcher_process: Catcher) -> Iterator[Catcher]:
    """Behaves well at the beginning and the end of a test."""
    catcher_process.behave()
    yield catcher_process
    catcher_process.behave()


@pytest.fixture(scope="session")
async def database(database_of: DatabaseOf) -> Database:
    return await database_of("notifier")


@pytest.fixture
async def sweeper(urls_of: UrlsOf) -> AsyncIterator[AsyncEngine]:
    """What other tests of this worker have left to be sent is taken away first."""
    urls = await urls_of("notifier")
    owner = await asyncpg.connect(urls.migrate)
    await owner.execute("DELETE FROM messages WHERE due_at IS NOT NULL")
    await owner.close()
    engine = open_engine(urls.sweep, isolation_level="AUTOCOMMIT")
    yield engine
    await engine.dispose()


@pytest.fixture
def house(keys_dir: Path) -> House:
    return House(ISSUER, MAIL_FROM, Links.load(keys_dir), "127.0.0.1")


@pytest.fixture
def sender_of(database: Database, sweeper: AsyncEngine, house: House, keys_dir: Path, catcher: Catcher) -> SenderOf:
    """sender_of(url=…, connections=…): one more sender, as another worker would have."""

    def sender(url: str = "", seconds: float = 3, data_seconds: float = 3, ca_file: str = "", **options: Any) -> Sender:
        relay = Relay(url or catcher.url, seconds, data_seconds, ca_file)
        bounces = (KeyRing(keys_dir, "bounce"), "bounces.test")
        given = {"connections": 2, "lease": timedelta(seconds=5), "poll": 0.05, **options}
        return Sender(database, sweeper, relay, house, bounces, **given)

    return sender


@pytest.fixture
def post(database: Database, sweeper: AsyncEngine, sender_of: SenderOf, catcher: Catcher) -> Post:
    return Post(database, sweeper, sender_of(), catcher)


@pytest.fixture
async def nord(post: Post) -> uuid.UUID:
    """A tenant that notifier knows."""
    tenant = uuid.uuid4()
    await post.open_tenant(tenant)
    return tenant


@pytest.fixture(scope="session")
async def settings(catcher_process: Catcher, keys_dir: Path, urls_of: UrlsOf) -> Settings:
    urls = await urls_of("notifier")
    return Settings(
        database_url=urls.app,
        database_relay_url=urls.relay,
        database_sweep_url=urls.sweep,
        database_operator_url=urls.operator,
        nats_url="nats://nobody@127.0.0.1:1",
        keys_dir=keys_dir,
        public_url=ISSUER,
        identity_url="http://127.0.0.1:1",
        smtp_url=catcher_process.url,
        mail_from=MAIL_FROM,
    )


@pytest.fixture(scope="session")
async def app(settings: Settings, core_of: CoreOf) -> AsyncIterator[Litestar]:
    app = create_app(settings, await core_of("notifier"))
    async with app.lifespan():
        yield app


@pytest.fixture
def as_(app: Litestar, client_of: ClientOf, token_for: TokenFor) -> As:
    """as_("admin", tenant), as_({"mail:read"}, tenant, id=…), as_(None): a client that calls as somebody."""

    def client(who: str | set[str] | None, tenant: uuid.UUID | None = None, **claims: Any) -> AsyncClient:
        return client_of(app, token_for(who, tenant, **claims) if who else None)

    return client
