"""A stack of its own for what kills and freezes: nobody else shall feel it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libs.common.stack.stack import Stack
from libs.common.stack.visitor import Visitor
from tests import parts
from tests.journeys.world import Operator, Tenant, World


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One stack for all faults that need one, so one worker. A fault takes its time."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("faults"))
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Durable, as in production: what was committed outlives a killed PostgreSQL."""
    environ = {"PORT": str(parts.free_port())}
    with parts.folder() as folder, Stack.start(folder, environ=environ) as stack:
        yield stack


@pytest.fixture(scope="session")
def visitor(stack: Stack) -> Iterator[Callable[[], Visitor]]:
    opened: list[Visitor] = []

    def new() -> Visitor:
        opened.append(Visitor(stack.gateway, stack.addresses.mail))
        return opened[-1]

    yield new
    for one in opened:
        one.__exit__()


@pytest.fixture(scope="session")
def world(stack: Stack, visitor: Callable[[], Visitor]) -> Iterator[World]:
    operator = Operator.create(stack, "operator@example.org", "a password of an operator")
    yield World(stack, operator, visitor)
    operator.visitor.__exit__()


@pytest.fixture(scope="session")
def acme(world: World) -> Tenant:
    return world.tenant("acme", seats=500)
