"""The application on real PostgreSQL and S3; members as events would have told of them; callers by what they are."""

import io
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient, Response
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from libs.common.db import Database
from libs.common.stack.s3 import S3Address
from libs.common.sweeps import sweep_once
from services.documents.app import create_app
from services.documents.edges import Edges
from services.documents.erasures.sweeps import DELETIONS_DUE, SWEEPS, delete_in_store
from services.documents.people.tables import Member
from services.documents.settings import Settings
from services.documents.uploads.intake import check_due
from services.documents.uploads.tables import Upload
from services.documents.work import work_once
from services.documents.worker import CHECKS_DUE
from tests.conftest import ClientOf, CoreOf, DatabaseOf, TokenFor, UrlsOf

DOCUMENTS = "/documents/v1/documents"
UPLOADS = "/documents/v1/uploads"

PDF = b"%PDF-1.7\n" + b"Bericht " * 100


class Caller(msgspec.Struct):
    """Somebody who calls: `await carla.get(...)`. id is her member id."""

    id: uuid.UUID
    client: AsyncClient

    async def get(self, path: str, **options: Any) -> Response:
        return await self.client.get(path, **options)

    async def upload(self, about: uuid.UUID, body: bytes = PDF, name: str = "bericht.pdf", **fields: Any) -> Response:
        """One file in one request, as a browser's form sends it: in many small pieces."""
        key = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
        data = {"member_id": str(about), **fields}
        return await self.client.post(DOCUMENTS, data=data, files={"file": (name, io.BytesIO(body))}, headers=key)

    async def file(
        self, about: uuid.UUID, body: bytes = PDF, name: str = "bericht.pdf", **fields: Any
    ) -> dict[str, Any]:
        """upload, and the document that comes of it."""
        answer = await self.upload(about, body, name, **fields)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()["document"]
        return document

    async def names(self, **filters: Any) -> list[str]:
        answer = await self.client.get(DOCUMENTS, params=filters)
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["items"]]


As = Callable[..., Caller]
Known = Callable[..., Any]
Allow = Callable[..., Awaitable[None]]


@pytest.fixture(scope="session")
async def settings(s3: S3Address, urls_of: UrlsOf) -> Settings:
    urls = await urls_of("documents")
    return Settings(
        database_url=urls.app,
        database_relay_url=urls.relay,
        database_sweep_url=urls.sweep,
        database_operator_url=urls.operator,
        nats_url="nats://nobody@127.0.0.1:1",
        keys_dir=Path("/nowhere"),
        public_url="http://control-centre.test",
        identity_url="http://127.0.0.1:1",
        s3_endpoint=s3.endpoint,
        s3_key=s3.key,
        s3_secret=s3.secret,
        s3_bucket=s3.bucket,
        s3_region=s3.region,
    )


@pytest.fixture(scope="session")
async def database(database_of: DatabaseOf) -> Database:
    return await database_of("documents")


@pytest.fixture(scope="session")
async def app(core_of: CoreOf, settings: Settings) -> AsyncIterator[Litestar]:
    app = create_app(settings, await core_of("documents"))
    async with app.lifespan():
        yield app


@pytest.fixture
def edges(app: Litestar) -> Edges:
    found: Edges = app.state.edges
    return found


@pytest.fixture
def as_(app: Litestar, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID) -> As:
    """as_("counsellor"), as_("admin", tenant=globex), as_("counsellor", id=…, holder=2)."""

    def caller(who: str | set[str], tenant: uuid.UUID | None = None, **claims: Any) -> Caller:
        id = claims.pop("id", None) or uuid.uuid4()
        return Caller(id, client_of(app, token_for(who, tenant or acme, id=id, **claims)))

    return caller


@pytest.fixture
def allow(as_: As, app: Litestar, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID) -> Allow:
    """await allow(visibilities=[…]): change what acme allows; its limits are changed by an operator."""

    async def change(**fields: Any) -> None:
        operator = client_of(app, token_for("operator"))
        limits = {name: fields.pop(name) for name in ("max_file_bytes", "tenant_quota_bytes") if name in fields}
        for client, path, changed in (
            (as_("admin").client, "/documents/v1/settings", fields),
            (operator, f"/documents/v1/operator/tenants/{acme}/limits", limits),
        ):
            version = (await client.get(path)).headers["etag"]
            answer = await client.patch(path, json=changed, headers={"If-Match": version})
            assert answer.status_code == 200, answer.text

    return change


@pytest.fixture
def known(database: Database, acme: uuid.UUID) -> Known:
    """await known(): the id of a member who is known here, as events would have made her."""

    async def member(id: uuid.UUID | None = None, tenant: uuid.UUID | None = None, **facts: Any) -> uuid.UUID:
        row = Member(tenant_id=tenant or acme, id=id or uuid.uuid4(), **{**_PRESENT, **facts})
        async with database.session(row.tenant_id) as session:
            await session.merge(row)
        return row.id

    return member


_PRESENT = {
    "life": "present",
    "profile_version": 1,
    "access_version": 1,
    "wanted": True,
    "av": 1,
    "active": True,
    "holder": 1,
}


@pytest.fixture
async def bob(known: Known) -> uuid.UUID:
    found: uuid.UUID = await known()
    return found


@pytest.fixture
async def sweeper(urls_of: UrlsOf) -> AsyncIterator[Any]:
    """As the sweep role."""
    url = (await urls_of("documents")).sweep.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    yield engine
    await engine.dispose()


@pytest.fixture
def work_off(edges: Edges, database: Database, sweeper: AsyncEngine, acme: uuid.UUID) -> Callable[[], Any]:
    """await work_off(): everything of acme that is due, as the worker would."""

    async def work() -> None:
        for sweep in SWEEPS:
            await sweep_once(sweep, database, sweeper)
        await work_once(CHECKS_DUE.where(Upload.tenant_id == acme), check_due, edges, sweeper)
        await work_once(DELETIONS_DUE, delete_in_store, edges, sweeper)

    return work
