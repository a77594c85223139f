"""What a running service process is connected to: database, keys, revocations, the bus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar

from libs.common.app import Core
from libs.common.bus import Bus
from libs.common.db import Database
from libs.common.errors import Unavailable
from libs.common.jwks import Jwks
from libs.common.revocation import Revocations
from libs.common.roles import check_app_role
from libs.common.settings import Settings
from libs.common.tokens import PublicKeys, TokenVerifier


def connect(service: str, settings: Settings, keys: PublicKeys | None = None) -> Core:
    """keys: where identity has its own; the others fetch identity's key set."""
    bus = Bus(settings.nats_url)
    database = Database(settings.database_url, pool_size=settings.database_pool, committed=bus.hint)
    jwks = None if keys is not None else Jwks(settings.identity_url)
    known = keys or jwks
    assert known is not None  # noqa: S101 one of the two, by the line above
    revocations = Revocations(bus)

    async def keys_known() -> None:
        if not known.ready:
            raise Unavailable(retry_after=1)

    async def revocations_known() -> None:
        if not revocations.ready:
            raise Unavailable(retry_after=1)

    @contextlib.asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        await check_app_role(settings.database_url)
        await bus.start()
        background = [asyncio.create_task(revocations.run(), name="revocations")]
        if jwks is not None:
            background.append(asyncio.create_task(jwks.run(), name="jwks"))
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await bus.close()
            await database.close()

    return Core(
        service=service,
        database=database,
        verifier=TokenVerifier(known, settings.public_url, revocations.refuses),
        revocations=revocations,
        checks={"database": database.ping, "keys": keys_known, "revocations": revocations_known},
        lifespan=[running],
        trusted_proxies=settings.trusted_proxies,
        bus=bus,
    )
