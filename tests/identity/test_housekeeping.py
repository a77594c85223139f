from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, update

from libs.common.db import PLATFORM, now
from services.identity.housekeeping import clear
from services.identity.sessions.tables import CookieSession
from services.identity.throttling import rules as throttling
from services.identity.throttling.tables import Attempts
from tests.identity.story import World


async def test_what_is_long_over_is_cleared_and_the_rest_stays(world: World) -> None:
    bob, old = await world.joined(await world.tenant())
    fresh = world.browser()
    await world.sign_in(bob.tenant, bob.login, browser=fresh)
    await world.sign_in(bob.tenant, "nobody", "wrong wrong wrong")
    ids = [UUID((await one.get("/identity/v1/sessions/current")).json()["session_id"]) for one in (old, fresh)]
    counted = throttling.digest("everywhere", throttling.digest("sign-in", bob.tenant.id, "nobody"))
    async with world.doors.database.session(PLATFORM) as session:
        past = {"ends_at": now() - timedelta(days=2)}
        await session.execute(update(CookieSession).where(CookieSession.id == ids[0]).values(past))
    await clear(world.doors.database)
    async with world.doors.database.session(PLATFORM) as session:
        left = await session.scalars(select(CookieSession.id).where(CookieSession.id.in_(ids)))
        assert list(left) == [ids[1]]
        assert await session.get(Attempts, counted) is not None
        long_ago = {"last_at": now() - timedelta(days=2), "wait_until": now() - timedelta(days=2)}
        await session.execute(update(Attempts).where(Attempts.digest == counted).values(long_ago))
    await clear(world.doors.database)
    async with world.doors.database.session(PLATFORM) as session:
        assert await session.get(Attempts, counted) is None
