"""Put together here: every route of the service."""

import contextlib
from collections.abc import AsyncIterator

import msgspec
from litestar import Litestar

from libs.common import me
from libs.common.app import Core, build_app
from libs.common.core import connect
from libs.common.db import Database
from services.notifier.direct_messages.routes import router as direct_messages
from services.notifier.limits.operator_routes import router as operator
from services.notifier.mail_settings.routes import router as mail_settings
from services.notifier.messages.routes import router as messages
from services.notifier.settings import Settings
from services.notifier.strings.routes import router as strings
from services.notifier.suppressions.routes import router as suppressions
from services.notifier.templates.routes import router as templates

ROUTERS = (
    messages, direct_messages, suppressions, templates, mail_settings, strings, operator, me.router("notifier"),
)  # fmt: skip


def create_app(settings: Settings, core: Core | None = None) -> Litestar:
    core = core or connect("notifier", settings)
    operators = Database(settings.database_operator_url, pool_size=2)

    @contextlib.asynccontextmanager
    async def closing(_: Litestar) -> AsyncIterator[None]:
        yield
        await operators.close()

    core = msgspec.structs.replace(core, lifespan=[*core.lifespan, closing])
    return build_app(core, ROUTERS, state={"operator_database": operators, "settings": settings})
