"""python -m tests.bench.bare KIND PORT: the handlers that ours are held against, on the same server and driver.

They know no token and no permission. `list` has the tenant written into its select and reads as a role that row level
security lets pass; `invite` learns its statements by having our rule run once.
"""

import asyncio
import os
import sys
from typing import Any
from uuid import UUID

import asyncpg
import uvloop
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar, get, post
from litestar.params import FromPath
from sqlalchemy import event

from libs.common.db import Database
from libs.common.tokens import Actor


async def _no_reset(_: object) -> None:
    """Faster by a round trip than what asyncpg does by itself."""


def plain(url: str) -> str:
    return url.replace("postgresql+asyncpg:", "postgresql:")


@get("/readyz")
async def readyz() -> str:
    return "ready"


async def lister() -> Litestar:
    from services.members.facts import DEFAULT_LIST
    from services.members.people.listing import page_statement

    pool = await asyncpg.create_pool(plain(os.environ["DATABASE"]), min_size=10, max_size=10, reset=_no_reset)
    sql = page_statement(DEFAULT_LIST, (), "name", 21, after=False).replace(" WHERE ", " WHERE tenant_id = $1 AND ")

    @get("/{tenant:uuid}")
    async def page(tenant: FromPath[UUID]) -> list[dict[str, Any]]:
        async with pool.acquire() as connection:
            return [dict(row) for row in await connection.fetch(sql, tenant)]

    return Litestar([readyz, page], openapi_config=None)


async def inviter() -> Litestar:
    tenant, member = UUID(os.environ["TENANT"]), UUID(os.environ["MEMBER"])
    statements = await statements_of_invite(tenant, member, UUID(os.environ["ACTOR"]))
    pool = await asyncpg.create_pool(plain(os.environ["DATABASE"]), min_size=10, max_size=10, reset=_no_reset)

    @post("/{of_tenant:uuid}/{of_member:uuid}", status_code=200)
    async def invite(of_tenant: FromPath[UUID], of_member: FromPath[UUID]) -> dict[str, Any]:
        instead: dict[object, object] = {
            tenant: of_tenant, member: of_member, str(tenant): str(of_tenant), str(member): str(of_member)
        }  # fmt: skip
        found: dict[str, Any] = {}
        async with pool.acquire() as connection, connection.transaction():
            for sql, parameters in statements:
                rows = await connection.fetch(sql, *(_swap(instead, value) for value in parameters))
                if rows and "display_name" in sql and sql.startswith("SELECT"):
                    found = dict(rows[0])
        return found

    return Litestar([readyz, invite], openapi_config=None)


def _swap(instead: dict[object, object], value: object) -> object:
    return instead.get(value, value) if isinstance(value, str | UUID) else value


async def statements_of_invite(tenant: UUID, member: UUID, inviter: UUID) -> list[tuple[str, tuple[object, ...]]]:
    """What our rule sends to the database for a first invitation; for this one member it has then happened."""
    from libs.common.permissions import Permission
    from services.members.access import rules

    database = Database(os.environ["DATABASE"])
    heard: list[tuple[str, tuple[object, ...]]] = []

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def hear(_a: object, _b: object, sql: str, parameters: Any, _c: object, many: bool) -> None:
        heard.extend((sql, tuple(one)) for one in (parameters if many else [parameters]))

    rights = frozenset(str(right) for right in Permission)
    actor = Actor(kind="member", id=inviter, tenant_id=tenant, rights=rights, expires_at=float("inf"))
    for attempt in range(2):  # the first of a connection asks more than every further one
        try:
            async with database.session(tenant) as session:
                heard.clear()
                heard.append(("SELECT set_config('app.tenant_id', $1, true)", (str(tenant),)))
                await rules.invite(session, actor, member)
                if not attempt:
                    raise _Again
        except _Again:
            continue
    await database.close()
    return heard


class _Again(Exception):
    pass


async def main(kind: str, port: int) -> None:
    app = await {"list": lister, "invite": inviter}[kind]()
    server = Server(
        app,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        backlog=1024,
        log_level=LogLevels.error,
    )
    loop = asyncio.get_running_loop()
    import signal

    loop.add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
