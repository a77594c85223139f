"""Two tenants with a few seats, callers by role, and the story's short words: add, invite, accept."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient, Response
from litestar import Litestar

from libs.common.changes import Event
from libs.common.db import PLATFORM, Database, now
from libs.common.events import identity
from libs.common.inlets import Inlet, Received, inlets
from libs.common.permissions import Role, rights_of
from libs.common.tokens import Actor
from services.members.app import create_app
from services.members.people.rules import Profile
from services.members.settings import Settings
from services.members.tenants import rules as tenants
from services.members.worker import HANDLERS
from tests.conftest import ClientOf, CoreOf, DatabaseOf, TokenFor, UrlsOf

MEMBERS = "/members/v1/members"
As = Callable[..., AsyncClient]


@pytest.fixture(scope="session")
async def database(database_of: DatabaseOf) -> Database:
    return await database_of("members")


@pytest.fixture(scope="session")
async def app(core_of: CoreOf, urls_of: UrlsOf, keys_dir: Path) -> AsyncIterator[Litestar]:
    urls = await urls_of("members")
    settings = Settings(
        database_url=urls.app,
        database_relay_url=urls.relay,
        database_sweep_url=urls.sweep,
        database_operator_url=urls.operator,
        nats_url="nats://nobody@127.0.0.1:1",
        keys_dir=keys_dir,
        public_url="http://control-centre.test",
        identity_url="http://127.0.0.1:1",
    )
    app = create_app(settings, await core_of("members"))
    async with app.lifespan():
        yield app


@pytest.fixture
def as_(app: Litestar, token_for: TokenFor, client_of: ClientOf) -> As:
    """as_("admin", acme): a client that calls as somebody; as_(None): anonymous; as_("operator")."""

    def client(who: Any, tenant: uuid.UUID | None = None, **claims: Any) -> AsyncClient:
        return client_of(app, token_for(who, tenant, **claims) if who else None)

    return client


async def make_tenant(database: Database, *, seats: int = 5, mail_class: str = "trusted", **settings: Any) -> uuid.UUID:
    """The first owner holds one of the seats, reserved."""
    operator = Actor(kind="operator", id=uuid.uuid4(), expires_at=float("inf"))
    slug = f"t-{uuid.uuid4().hex[:12]}"
    async with database.session(PLATFORM) as session:
        tenant = await tenants.create_tenant(
            session,
            operator,
            slug=slug,
            name=slug,
            locale="de",
            time_zone="Europe/Berlin",
            seats=seats,
            owner=Profile(login_name="boss", display_name="The Boss", email=f"boss@{slug}.example", locale="de"),
        )
        for name, value in {"mail_class": mail_class, **settings}.items():
            setattr(tenant, name, value)
    return tenant.id


@pytest.fixture
async def acme(database: Database) -> uuid.UUID:
    return await make_tenant(database)


@pytest.fixture
async def globex(database: Database) -> uuid.UUID:
    return await make_tenant(database)


def staff(tenant: uuid.UUID, role: Role = Role.OWNER) -> Actor:
    """Somebody who acts in rules directly."""
    return Actor(
        kind="member", id=uuid.uuid4(), tenant_id=tenant, rights=rights_of([role], []), expires_at=float("inf")
    )


class Answers:
    """identity's and notifier's side: what they would answer, delivered as the worker delivers it."""

    def __init__(self, database: Database) -> None:
        self._inlets: dict[str, Inlet] = {inlet.stream: inlet for inlet in inlets(list(HANDLERS), database)}
        self._versions = 0

    async def __call__(self, tenant: uuid.UUID, event: Event, *, version: int | None = None) -> Received[Any]:
        self._versions += 1
        received = Received(
            id=uuid.uuid4(),
            tenant_id=tenant,
            time=now(),
            row_id=uuid.uuid4(),
            row_version=version or self._versions,
            data=event,
            traceparent=None,
        )
        await self.deliver(received)
        return received

    async def deliver(self, received: Received[Any]) -> bool:
        stream = f"EV_{received.data.type().split('.')[0].upper()}"
        return await self._inlets[stream].apply(received)

    async def accept(self, tenant: uuid.UUID, member: dict[str, Any], *, holder: int = 1, epoch: int = 0) -> None:
        await self(
            tenant,
            identity.MembershipActivated(
                member_id=uuid.UUID(member["id"]),
                epoch=epoch,
                generation=member["invitation"]["generation"],
                holder=holder,
                way=member["invitation"]["way"],
            ),
        )


@pytest.fixture
def answers(database: Database) -> Answers:
    return Answers(database)


async def ok(answer: Awaitable[Response], status: int = 200) -> Any:
    """The body of an answer that has this status."""
    response = await answer
    assert response.status_code == status, response.text
    return response.json() if response.content else None


async def add(client: AsyncClient, login_name: str | None = None, **fields: Any) -> Any:
    """Bob, unless it is somebody else."""
    name = login_name or f"bob-{uuid.uuid4().hex[:8]}"
    body = {"login_name": name, "display_name": name.title(), "email": f"{name}@example.org", **fields}
    return await ok(client.post(MEMBERS, json=body), 201)


async def read(client: AsyncClient, member: dict[str, Any]) -> Any:
    return await ok(client.get(f"{MEMBERS}/{member['id']}"))


async def tell(client: AsyncClient, member: dict[str, Any], command: str, status: int = 200, **body: Any) -> Any:
    return await ok(client.post(f"{MEMBERS}/{member['id']}/{command}", json=body or None), status)


def allowed(member: dict[str, Any]) -> dict[str, str | None]:
    """Action to reason; None where it is allowed."""
    return {one["action"]: one.get("reason") for one in member["allowed_actions"]}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)
