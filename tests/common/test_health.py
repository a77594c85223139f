import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from httpx import ASGITransport, AsyncClient
from litestar import Litestar
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from libs.common import health, metrics
from libs.common.app import build_app
from libs.common.health import Heart, Readiness, probe_app
from tests.conftest import ClientOf, CoreOf


class Part:
    """A part that can be taken away and be slow."""

    def __init__(self) -> None:
        self.away = False
        self.slow = False

    async def ping(self) -> None:
        if self.slow:
            await asyncio.sleep(60)
        if self.away:
            raise ConnectionError("postgresql://app:s3cret@db")


@pytest.fixture
def parts() -> dict[str, Part]:
    return {"database": Part(), "keys": Part()}


@pytest.fixture
async def client(parts: dict[str, Part]) -> AsyncIterator[AsyncClient]:
    app = probe_app("members", {name: part.ping for name, part in parts.items()}, {"relay": lambda: parts["keys"].slow})
    async with (
        app.lifespan(),
        AsyncClient(transport=ASGITransport(cast(Any, app)), base_url="http://members.test") as client,
    ):
        yield client


async def test_ready_names_the_parts_that_are_missing(client: AsyncClient, parts: dict[str, Part]) -> None:
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "missing": []})
    parts["database"].away = True
    missing = await client.get("/readyz")
    assert (missing.status_code, missing.json()) == (503, {"ready": False, "missing": ["database"]})
    assert missing.headers["retry-after"] == "1"
    assert "s3cret" not in missing.text
    assert REGISTRY.get_sample_value("readiness_missing", {"part": "database"}) == 1
    parts["database"].away = False
    assert (await client.get("/readyz")).status_code == 200
    assert REGISTRY.get_sample_value("readiness_missing", {"part": "database"}) == 0


async def test_a_part_that_does_not_answer_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.05)
    slow, fine = Part(), Part()
    slow.slow = True
    assert await Readiness({"a": slow.ping, "b": fine.ping}).missing() == ["a"]


async def test_a_part_that_goes_and_comes_is_told_once_each() -> None:
    part = Part()
    readiness = Readiness({"database": part.ping})
    with capture_logs() as lines:
        await readiness.missing()
        for away in (True, True, True, False, False):
            part.away = away
            await readiness.missing()
    assert [line["event"] for line in lines] == ["part_missing", "part_back"]


async def test_alive_asks_no_part(client: AsyncClient, parts: dict[str, Part]) -> None:
    parts["database"].away = True
    answer = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"alive": True, "standing_still": []})


async def test_watched_work_that_stands_still_is_not_alive(client: AsyncClient, parts: dict[str, Part]) -> None:
    parts["keys"].slow = True
    answer = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (503, {"alive": False, "standing_still": ["relay"]})


async def test_a_heart_beats_while_the_loop_turns_and_stands_still_when_it_does_not() -> None:
    now = 0.0
    heart = Heart(lambda: now)
    async with heart.running():
        now = health.STANDSTILL
        assert not heart.stands_still()
        now = health.STANDSTILL + 1
        assert heart.stands_still()
        async with asyncio.timeout(10):
            while heart.stands_still():  # noqa: ASYNC110 a heart tells nobody when it beats
                await asyncio.sleep(0.01)
    assert REGISTRY.get_sample_value("event_loop_lag_seconds") is not None


async def test_metrics_are_what_prometheus_reads(client: AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == metrics.CONTENT_TYPE
    for name in ("http_requests_total", "outbox_oldest_seconds", "dead_letters", "process_cpu_seconds_total"):
        assert f"# TYPE {name} " in answer.text


def test_every_metric_is_explained_and_none_has_an_id_for_a_label() -> None:
    for family in REGISTRY.collect():
        assert family.documentation
        assert family.name == family.name.lower()
        for sample in family.samples:
            assert not [label for label in sample.labels if label.endswith("_id") or label in {"tenant", "path"}]


async def test_a_service_is_probed_beside_its_prefix(core_of: CoreOf, client_of: ClientOf) -> None:
    core = await core_of("members")
    app: Litestar = build_app(core, [])
    client = client_of(app)
    async with app.lifespan():
        for path, status in (("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/members/metrics", 404)):
            assert (await client.get(path)).status_code == status
