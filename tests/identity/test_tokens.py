"""Access tokens say what is so now; refresh tokens work once, and a lost answer may be asked for again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, update

from libs.common.db import PLATFORM
from libs.common.events.members import WorkerBeat
from libs.common.permissions import Permission, Role, rights_of
from services.identity.beats.tables import Beat
from services.identity.tokens.tables import RefreshToken
from tests.identity.story import CSRF, As, World

REFRESH = "/identity/v1/refresh"


async def claims(browser: AsyncClient, answer: Response) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    found: dict[str, Any] = (await browser.get("/identity/v1/me", headers=headers)).json()
    return found


async def test_a_token_carries_the_rights_of_all_grants(world: World) -> None:
    """R-14: what the invitation presets is given at acceptance, as far as who gave it might."""
    acme = await world.tenant()
    bob, browser = await world.joined(
        acme, permission_groups=["counsellor"], granted_rights=sorted(rights_of([Role.ADMIN], []))
    )
    me = await claims(browser, await world.token(browser))
    assert Permission.MEMBERS_INVITE in me["rights"]
    assert Permission.ROLES_WRITE not in me["rights"]
    assert (me["id"], me["tenant_id"], me["holder"]) == (str(bob.id), str(acme.id), 1)


async def test_presets_that_nobody_might_give_are_refused_and_reported(world: World) -> None:
    """Design section 5: may_grant, again in identity."""
    counsellor = sorted(rights_of([], []) | {"members:invite"})
    bob, browser = await world.joined(
        await world.tenant(), roles=["admin", "king"], permission_groups=["supervisor"], granted_rights=counsellor
    )
    assert (await claims(browser, await world.token(browser)))["rights"] == []
    [refused] = [row for row in await world.told(bob.tenant.id) if row.type.endswith("grants_refused.v1")]
    assert (refused.data["roles"], refused.data["permission_groups"]) == (["admin", "king"], ["supervisor"])


async def test_a_token_ends_with_the_access_it_stands_for(world: World) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=90)
    bob, browser = await world.joined(await world.tenant())
    assert (await world.token(browser)).json()["expires_in"] in range(295, 301)
    await world.deliver(bob, world.next(bob, ends_at=soon))
    assert (await world.token(browser)).json()["expires_in"] <= 90


async def test_every_change_of_what_a_token_says_is_published_as_a_revocation(world: World) -> None:
    """R-10: av rises with blocks, dates, cut and epoch, and is told under revoked.membership.<id>; not with a name."""
    bob, _ = await world.joined(await world.tenant())

    async def published() -> list[int]:
        told = await world.told(bob.tenant.id)
        return [int(str(row.data["av"])) for row in told if row.subject == f"revoked.membership.{bob.id}"]

    changes = [
        world.next_lock(bob),
        world.next_unlock(bob),
        world.next(bob, ends_at=datetime.now(UTC) + timedelta(days=1)),
        world.next(bob, cut=bob.wanted.cut + 1),
        world.next_revoke(bob),
    ]
    for wanted in changes:
        before = len(await published())
        await world.deliver(bob, wanted)
        assert len(await published()) > before
    avs = await published()
    assert avs == list(range(1, len(avs) + 1))
    assert avs[-1] == (await world.membership(bob)).av
    await world.deliver(bob, world.next(bob, display_name="Robert"))
    assert await published() == avs


@pytest.mark.parametrize(
    ("ahead", "members", "ours", "status"),
    [(0, True, True, 200), (-31, True, True, 503), (0, False, True, 503), (0, True, False, 503)],
)
async def test_no_token_while_a_revocation_could_not_be_delivered(
    world: World, ahead: int, members: bool, ours: bool, status: int
) -> None:
    """Design section 6: members' newest beat has come in and our own has gone out within 30 seconds."""
    _, browser = await world.joined(await world.tenant())
    await world.beats(timedelta(seconds=ahead), members=members, ours=ours)
    answer = await world.token(browser)
    assert answer.status_code == status
    if status == 503:
        assert (answer.json()["code"], answer.headers["retry-after"]) == ("revocations_delayed", "5")


async def test_beats_are_taken_by_the_newest(world: World) -> None:
    await world.beats(timedelta(seconds=-60))
    newest = datetime.now(UTC)
    for at in (newest, newest - timedelta(seconds=50)):
        await world.say(PLATFORM, UUID(int=1), 1, WorkerBeat(at))
    async with world.doors.database.session(PLATFORM) as session:
        assert (await session.get_one(Beat, "members")).at == newest


async def test_the_public_keys_are_public_and_nothing_else(world: World) -> None:
    found = (await world.browser().get("/identity/v1/jwks")).json()["keys"]
    assert {key["kty"] for key in found} == {"OKP"}
    assert all("d" not in key for key in found)


async def family(world: World, browser: AsyncClient) -> str:
    answer = await browser.post("/identity/v1/refresh-tokens", json={}, headers=CSRF)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["refresh_token"]
    return token


async def refresh(world: World, token: str) -> Response:
    return await world.browser().post(REFRESH, json={"refresh_token": token})


async def a_while_ago(world: World) -> None:
    async with world.doors.database.session(PLATFORM) as session:
        await session.execute(update(RefreshToken).values(used_at=datetime.now(UTC) - timedelta(seconds=11)))


async def test_a_refresh_token_works_once_and_gives_the_next(world: World) -> None:
    bob, browser = await world.joined(await world.tenant())
    first = await family(world, browser)
    answer = await refresh(world, first)
    assert (await claims(browser, answer))["id"] == str(bob.id)
    assert (await refresh(world, answer.json()["refresh_token"])).status_code == 200


async def test_twenty_at_once_get_the_same_successor(world: World) -> None:
    """reliability 4A: a client that lost the answer asks again within ten seconds."""
    _, browser = await world.joined(await world.tenant())
    first = await family(world, browser)
    answers = await asyncio.gather(*(refresh(world, first) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


async def test_a_predecessor_is_too_old_after_ten_seconds(world: World) -> None:
    _, browser = await world.joined(await world.tenant())
    first = await family(world, browser)
    second = (await refresh(world, first)).json()["refresh_token"]
    await a_while_ago(world)
    assert (await refresh(world, first)).json()["code"] == "refresh_reused"
    assert (await refresh(world, second)).status_code == 401


async def test_the_first_after_the_third_ends_the_family_and_the_session(world: World) -> None:
    """reliability 4A: R1 after R3. Somebody else has it; what he did is not forgotten."""
    _, browser = await world.joined(await world.tenant())
    first = await family(world, browser)
    second = (await refresh(world, first)).json()["refresh_token"]
    third = (await refresh(world, second)).json()["refresh_token"]
    assert (await refresh(world, first)).json()["code"] == "refresh_reused"
    assert (await refresh(world, third)).status_code == 401
    assert (await world.token(browser)).status_code == 401


async def test_a_refresh_family_ends_with_the_membership_and_with_the_session(world: World) -> None:
    bob, browser = await world.joined(await world.tenant())
    token = await family(world, browser)
    await world.lock(bob)
    assert (await refresh(world, token)).status_code == 401
    _, browser = await world.joined(bob.tenant)
    token = await family(world, browser)
    await browser.delete("/identity/v1/sessions/current", headers=CSRF)
    assert (await refresh(world, token)).status_code == 401


async def test_no_refresh_token_stands_in_the_database(world: World) -> None:
    _, browser = await world.joined(await world.tenant())
    first = await family(world, browser)
    second = (await refresh(world, first)).json()["refresh_token"]
    async with world.doors.database.session(PLATFORM) as session:
        for row in await session.scalars(select(RefreshToken)):
            stored = (row.digest, row.salt or b"")
            assert not {first.encode(), second.encode(), bytes.fromhex(second)} & set(stored)


async def test_a_token_for_a_tenant_wants_the_cookie(world: World, as_: As) -> None:
    assert (await world.token(world.browser())).status_code == 401
