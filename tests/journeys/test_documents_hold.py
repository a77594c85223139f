"""What the API reference says is what the services answer: schemathesis makes requests of every operation, well-formed
and not. No answer is a 5xx, none is undocumented. The same requests each time, so that a change is judged by what it
changed; EXAMPLES=1000 in the environment for the long form, which makes others each time.
"""

import os
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from libs.common.events.subjects import SERVICES
from libs.common.keys import KeyRing
from libs.common.permissions import Permission
from libs.common.stack.stack import Stack
from libs.common.tokens import Actor, IssuerKeys, TokenIssuer
from tests.journeys.world import Tenant, World

_CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_EXAMPLES = int(os.environ.get("EXAMPLES", "50"))


@pytest.fixture(scope="module")
def acme(world: World) -> Tenant:
    return world.tenant("acme", seats=1000)


@pytest.fixture(scope="module")
def bearer(stack: Stack, acme: Tenant) -> Callable[[bool], str]:
    """A fresh token each time: what is tried ends sessions, too."""
    issuer = TokenIssuer(IssuerKeys(KeyRing(stack.keys_dir, "token")), stack.gateway)
    rights = frozenset(str(right) for right in Permission)

    def token(operator: bool) -> str:
        actor = Actor(
            kind="operator" if operator else "member",
            id=uuid.UUID(acme.owner_id),
            tenant_id=None if operator else uuid.UUID(acme.id),
            session_id=str(uuid.uuid4()),
            authorisation_version=1_000_000,
            holder=1,
            amr=("pwd",),
            auth_time=int(time.time()),
            rights=frozenset() if operator else rights,
            expires_at=time.time() + 300,
        )
        return issuer.mint(actor)[0]

    return token


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_answers_as_its_document_says(
    stack: Stack, bearer: Callable[[bool], str], service: str
) -> None:
    schema: Any = schemathesis.openapi.from_url(f"{stack.gateway}/{service}/openapi.json")
    broken: list[Exception] = []
    for found in schema.get_all_operations():
        try:
            _hold(found.ok(), bearer)
        except Exception as error:
            broken.append(error)
    if broken:
        raise ExceptionGroup(f"{len(broken)} operations of {service} do not answer as documented", broken)


def _hold(operation: Any, bearer: Callable[[bool], str]) -> None:
    """Half of the requests are as the document wants them, half are not."""
    cases = operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(
        max_examples=_EXAMPLES,
        derandomize="EXAMPLES" not in os.environ,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def hold(case: Any) -> None:
        headers = {"Authorization": f"Bearer {bearer('/operator/' in case.path)}"}
        case.call_and_validate(headers=headers, checks=_CHECKS, session=session)

    with requests.Session() as session:
        hold()
