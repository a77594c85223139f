"""Real parts for every test: started once by the controller, one clone of each service's database per worker.

Tests make tenants of their own with random ids, so that none needs an empty database.
"""

import asyncio
import fcntl
import gc
import json
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import asyncpg
import msgspec
import pytest
from httpx import ASGITransport, AsyncClient
from hypothesis import HealthCheck, settings
from litestar import Litestar
from sqlalchemy.engine import make_url

from libs.common import keys
from libs.common.app import Core
from libs.common.bus import Bus
from libs.common.db import Database
from libs.common.permissions import Group, Role, rights_of
from libs.common.revocation import Revocations
from libs.common.roles import ROLES, Urls, provision
from libs.common.stack.s3 import S3Address
from libs.common.tokens import Actor, IssuerKeys, TokenIssuer, TokenVerifier
from tests import parts

# A busy machine is no defect: no property is held against the clock.
settings.register_profile("here", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")

ISSUER = "http://control-centre.test"
PASSWORDS = dict.fromkeys(ROLES, "only-for-tests")

TokenFor = Callable[..., str]
DatabaseOf = Callable[[str], Awaitable[Database]]
UrlsOf = Callable[[str], Awaitable[Urls]]
CoreOf = Callable[[str], Awaitable[Core]]
ClientOf = Callable[..., AsyncClient]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the controller, or the only process
        parts.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        parts.stop()


def pytest_collection_finish() -> None:
    """What has been imported stays to the end: the collector need not walk over it again and again."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Megabytes of hostile input are no good name, and every worker sends all names to the controller."""
    return f"{len(val)}-long" if isinstance(val, str | bytes) and len(val) > 100 else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop for all tests of a worker, so that applications and pools are made once."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> str:
    """Address of the cluster's administrator."""
    return os.environ["TEST_POSTGRES_URL"]


@pytest.fixture(scope="session")
def nats_urls() -> dict[str, str]:
    """By user. The streams are not declared; a test that shares them filters by its own tenants."""
    return dict(json.loads(os.environ["TEST_NATS_URLS"]))


@pytest.fixture(scope="session")
def s3() -> S3Address:
    return msgspec.json.decode(os.environ["TEST_S3"], type=S3Address)


@pytest.fixture(scope="session")
def smtp_url() -> str:
    return os.environ["TEST_SMTP_URL"]


@pytest.fixture(scope="session")
def mail_url() -> str:
    """The page of the mail catcher, with its JSON API; mails are told apart by their address."""
    return os.environ["TEST_MAIL_URL"]


@pytest.fixture(scope="session")
def keys_dir() -> Path:
    """Keys of all purposes, the same for all workers."""
    return Path(os.environ["TEST_KEYS_DIR"])


@pytest.fixture(scope="session")
def urls_of(postgres: str) -> UrlsOf:
    """urls_of("members"): addresses of this worker's clone of the service's migrated database, one for each role."""
    made: dict[str, Urls] = {}
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")

    async def urls(service: str) -> Urls:
        if service not in made:
            made[service] = await _clone(postgres, service, f"t_{service}_{worker}")
        return made[service]

    return urls


async def _clone(admin: str, service: str, name: str) -> Urls:
    template = f"template_{service}"
    with _one_at_a_time(service):
        connection = await asyncpg.connect(admin)
        try:
            if not await connection.fetchval(
                "SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate", template
            ):
                from libs.common.migrations import migrate

                await connection.execute(f'DROP DATABASE IF EXISTS "{template}"')
                urls = await provision(admin, service, PASSWORDS, database=template)
                await migrate(service, urls.migrate)
                await connection.execute(f'ALTER DATABASE "{template}" IS_TEMPLATE true')
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        finally:
            await connection.close()
    url = make_url(admin).set(database=name)
    return Urls(
        *(
            url.set(username=f"{service}_{role}", password=PASSWORDS[role]).render_as_string(hide_password=False)
            for role in ROLES
        )
    )


class _one_at_a_time:  # noqa: N801 used like a function
    """Across worker processes: a template cannot be cloned by two at once."""

    def __init__(self, name: str) -> None:
        self._path = Path(os.environ["TEST_KEYS_DIR"]).parent / f"{name}.lock"

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.fixture(scope="session")
async def database_of(urls_of: UrlsOf) -> AsyncIterator[DatabaseOf]:
    """database_of("members"): as the app role sees it."""
    opened: dict[str, Database] = {}

    async def database(service: str) -> Database:
        if service not in opened:
            opened[service] = Database((await urls_of(service)).app)
        return opened[service]

    yield database
    for one in opened.values():
        await one.close()


@pytest.fixture(scope="session")
def issuer(keys_dir: Path) -> TokenIssuer:
    return TokenIssuer(IssuerKeys(keys.KeyRing(keys_dir, "token")), ISSUER)


@pytest.fixture
def token_for(issuer: TokenIssuer) -> TokenFor:
    """token_for("admin", tenant), token_for("counsellor", tenant), token_for({"members:read"}, tenant),
    token_for("operator").

    Further keywords are fields of the Actor.
    """

    def token(who: str | frozenset[str] | set[str], tenant: uuid.UUID | None = None, **claims: Any) -> str:
        rights: frozenset[str]
        if isinstance(who, set | frozenset):
            rights = frozenset(who)
        elif who in list(Role):
            rights = rights_of([Role(who)], [])
        elif who in list(Group):
            rights = rights_of([Role.MEMBER], [Group(who)])
        else:
            rights = frozenset()
        fields: dict[str, Any] = {
            "kind": "operator" if who == "operator" else "member",
            "id": uuid.uuid4(),
            "tenant_id": tenant,
            "session_id": str(uuid.uuid4()),
            "authorisation_version": 1,
            "holder": 1,
            "amr": ("pwd",),
            "auth_time": int(time.time()),
            "rights": rights,
            "expires_at": time.time() + 300,
        }
        return issuer.mint(Actor(**{**fields, **claims}))[0]

    return token


@pytest.fixture(scope="session")
async def core_of(database_of: DatabaseOf, keys_dir: Path) -> CoreOf:
    """core_of("members"): what create_app stands on."""

    async def core(service: str) -> Core:
        return make_core(service, await database_of(service), keys_dir)

    return core


def make_core(service: str, database: Database, keys_dir: Path) -> Core:
    """With a revocation table that is ready and empty."""
    revocations = Revocations(Bus("nats://nobody@127.0.0.1:1"))
    revocations.mark_read()
    return Core(
        service=service,
        database=database,
        verifier=TokenVerifier(IssuerKeys(keys.KeyRing(keys_dir, "token")), ISSUER, revocations.refuses),
        revocations=revocations,
        checks={"database": database.ping},
    )


@pytest.fixture
async def client_of() -> AsyncIterator[ClientOf]:
    """client_of(app, token): an HTTP client that calls this application as somebody."""
    opened: list[AsyncClient] = []

    def client(app: Litestar, token: str | None = None, **options: Any) -> AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        opened.append(AsyncClient(transport=ASGITransport(cast(Any, app)), base_url=ISSUER, headers=headers, **options))
        return opened[-1]

    yield client
    await asyncio.gather(*(one.aclose() for one in opened))


@pytest.fixture
def acme() -> uuid.UUID:
    return uuid.uuid4()


@pytest.fixture
def globex() -> uuid.UUID:
    return uuid.uuid4()


@pytest.fixture
def tmp_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)
