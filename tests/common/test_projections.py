import asyncio
import uuid

import pytest

from libs.common.errors import NotFound
from libs.common.projections import MemberNotKnownYet, wait_for_member
from tests.ids import new_id

pytestmark = pytest.mark.anyio


class Arrivals:
    """What has come so far, and how often it was looked for."""

    def __init__(self) -> None:
        self.come: set[uuid.UUID] = set()
        self.looked = 0

    async def wait_for(self, id: uuid.UUID) -> str:
        async def look() -> str | None:
            self.looked += 1
            return "found" if id in self.come else None

        return await wait_for_member(id, look)


async def test_who_is_there_is_found_at_once() -> None:
    arrivals, old = Arrivals(), uuid.uuid4()
    arrivals.come.add(old)
    assert (await arrivals.wait_for(old), arrivals.looked) == ("found", 1)


async def test_who_was_made_a_moment_ago_is_waited_for() -> None:
    arrivals, new = Arrivals(), new_id()
    waiting = asyncio.create_task(arrivals.wait_for(new))
    while arrivals.looked < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    arrivals.come.add(new)
    assert await waiting == "found"


async def test_a_new_id_that_does_not_come_may_come_later() -> None:
    arrivals = Arrivals()
    with pytest.raises(MemberNotKnownYet) as raised:
        await arrivals.wait_for(new_id())
    assert raised.value.params["retry_after"] == 2
    assert arrivals.looked > 10


@pytest.mark.parametrize("id", [uuid.uuid4(), new_id(ago=3600), new_id(ago=-3600), uuid.UUID(int=0)])
async def test_an_id_of_another_time_or_kind_is_not_there_at_once(id: uuid.UUID) -> None:
    arrivals = Arrivals()
    with pytest.raises(NotFound):
        await arrivals.wait_for(id)
    assert arrivals.looked == 1
