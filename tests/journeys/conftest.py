"""A whole stack for the journeys, as `make run` starts it. They meet it over HTTP only."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libs.common.stack.stack import Stack
from libs.common.stack.visitor import Visitor
from tests import parts
from tests.journeys.world import Operator, World


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One stack for all journeys, so one worker."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("journeys"))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    environ = {"PORT": str(parts.free_port())}
    with parts.folder() as folder, Stack.start(folder, environ=environ, durable=False) as stack:
        yield stack


@pytest.fixture(scope="session")
def operator(stack: Stack) -> Iterator[Operator]:
    address, password = "operator@example.org", secrets.token_urlsafe(16)
    operator = Operator.create(stack, address, password)
    yield operator
    operator.visitor.__exit__()


@pytest.fixture(scope="session")
def visitor(stack: Stack) -> Iterator[Callable[[], Visitor]]:
    """visitor(): somebody new, with an empty browser."""
    opened: list[Visitor] = []

    def new() -> Visitor:
        opened.append(Visitor(stack.gateway, stack.addresses.mail))
        return opened[-1]

    yield new
    for one in opened:
        one.__exit__()


@pytest.fixture(scope="session")
def world(stack: Stack, operator: Operator, visitor: Callable[[], Visitor]) -> World:
    return World(stack, operator, visitor)
