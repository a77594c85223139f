import contextlib
from collections.abc import AsyncIterator

import msgspec
from litestar import Litestar

from libs.common import me, reference_page
from libs.common.app import Core, build_app
from libs.common.core import connect
from libs.common.events.subjects import SERVICES
from libs.common.keys import TOKEN, KeyRing
from libs.common.tokens import IssuerKeys
from services.identity.connections.routes import router as connections
from services.identity.doors import open_doors
from services.identity.invitations.routes import router as invitations
from services.identity.local_credentials.routes import router as local_credentials
from services.identity.operators.routes import router as operators
from services.identity.pages.routes import router as pages
from services.identity.passwords.routes import router as passwords
from services.identity.roles.routes import router as roles
from services.identity.sessions.routes import router as sessions
from services.identity.settings import Settings
from services.identity.tokens.routes import router as tokens


def create_app(settings: Settings, core: Core | None = None) -> Litestar:
    core = core or connect("identity", settings, IssuerKeys(KeyRing(settings.keys_dir, TOKEN)))
    routers = [
        me.router("identity"),
        sessions,
        tokens,
        invitations,
        passwords,
        roles,
        local_credentials,
        connections,
        operators,
        pages,
        reference_page.router(settings.public_url, SERVICES),
    ]
    doors = open_doors(settings, core.database, core.bus)

    @contextlib.asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        async with doors.outgoing:
            yield

    core = msgspec.structs.replace(core, lifespan=[*core.lifespan, running])
    return build_app(core, routers, state={"doors": doors})
