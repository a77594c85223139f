"""Put together here: every route of the service."""

import contextlib
from collections.abc import AsyncIterator

import msgspec
from litestar import Litestar

from libs.common import me
from libs.common.app import Core, build_app
from libs.common.core import connect
from libs.common.db import Database
from services.members.access.routes import router as access
from services.members.blocks.routes import router as blocks
from services.members.bulk.routes import router as bulk
from services.members.deletion.routes import router as deletion
from services.members.history.routes import router as history
from services.members.people.routes import router as people
from services.members.seats.routes import router as seats
from services.members.settings import Settings
from services.members.tasks.routes import router as tasks
from services.members.tenants.operator_routes import router as operator
from services.members.tenants.routes import router as tenants

ROUTERS = (tenants, operator, people, access, blocks, deletion, bulk, seats, history, tasks, me.router("members"))


def create_app(settings: Settings, core: Core | None = None) -> Litestar:
    core = core or connect("members", settings)
    operators = Database(settings.database_operator_url, pool_size=2)

    @contextlib.asynccontextmanager
    async def closing(_: Litestar) -> AsyncIterator[None]:
        yield
        await operators.close()

    core = msgspec.structs.replace(core, lifespan=[*core.lifespan, closing])
    return build_app(core, ROUTERS, state={"operator_database": operators})
