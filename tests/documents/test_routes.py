"""Every route of the service: anonymous, an operator, and another tenant with ids that exist here."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from libs.common.auth import PUBLIC
from libs.common.permissions import Permission
from tests.conftest import ClientOf, TokenFor
from tests.documents.conftest import PDF, UPLOADS, As, Known

# What each route that takes a body is sent: well-formed, so that only who asks decides.
BODIES: dict[str, dict[str, Any]] = {
    "POST /documents/v1/uploads": {"json": {"name": "a", "size": 5, "sha256": "0" * 64, "member_id": ""}},
    "PUT /documents/v1/uploads/{upload_id}/content": {"content": PDF},
    "POST /documents/v1/uploads/{upload_id}/parts": {"json": {"parts": [{"number": 1, "sha256": "0" * 64}]}},
    "PATCH /documents/v1/documents/{document_id}": {"json": {"name": "neu"}},
    "POST /documents/v1/openings": {"json": {"member_id": "", "reason": "Prüfung"}},
    "POST /documents/v1/hand-overs/{hand_over_id}/settle": {"json": {"choice": "erase"}},
    "PATCH /documents/v1/settings": {"json": {"bin_days": 3}},
}
# Not of one thing: what they show to another tenant is empty, which test_visibility.py looks at.
_OF_NO_ID = {"me", "uploads", "documents", "documents/zip", "openings", "hand-overs", "settings", "usage"}


def _operations(app: Litestar) -> Iterator[tuple[str, str]]:
    """Method and path of every route that members may call."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                operators = handler.opt.get("operator")
                if handler.opt["permission"] != PUBLIC and not operators and method != "OPTIONS":
                    yield method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path).rstrip("/")


async def _call(client: Any, method: str, path: str, ids: dict[str, str]) -> Any:
    options = {
        key: dict(value) if isinstance(value, dict) else value
        for key, value in BODIES.get(f"{method} {path}", {}).items()
    }
    if "member_id" in options.get("json", {}):
        options["json"]["member_id"] = ids["member_id"]
    if (method, path) == ("POST", "/documents/v1/documents"):
        options = {"data": {"member_id": ids["member_id"]}, "files": {"file": ("a", PDF)}}
    return await client.request(method, path.format(**ids), headers={"If-Match": '"1"'}, **options)


@pytest.fixture
async def ids(as_: As, bob: uuid.UUID, known: Known, database: Any, acme: uuid.UUID) -> dict[str, str]:
    """One of everything in acme."""
    from services.documents.hand_overs.tables import HandOver

    carla = as_("counsellor")
    document = await carla.file(bob)
    upload = {"member_id": str(bob), "name": "a", "size": len(PDF), "sha256": "0" * 64}
    opening = {"member_id": str(bob), "reason": "Prüfung"}
    hand_over = HandOver(tenant_id=acme, member_id=carla.id, holder=1, state="asked", version=1)
    async with database.session(acme) as session:
        session.add(hand_over)
    return {
        "member_id": str(bob),
        "document_id": document["id"],
        "upload_id": (await carla.client.post(UPLOADS, json=upload)).json()["id"],
        "opening_id": (await as_("admin").client.post("/documents/v1/openings", json=opening)).json()["id"],
        "hand_over_id": str(hand_over.id),
    }


async def test_nobody_is_let_in_without_a_token_of_a_member(
    app: Litestar, client_of: ClientOf, token_for: TokenFor, ids: dict[str, str]
) -> None:
    """R-07: anonymous and operators get 401 on every route; operators see no documents."""
    for token in (None, token_for("operator")):
        client = client_of(app, token)
        for method, path in _operations(app):
            assert (await _call(client, method, path, ids)).status_code == 401, (method, path)


async def test_ids_of_another_tenant_are_as_good_as_invented_ones(
    app: Litestar, as_: As, globex: uuid.UUID, ids: dict[str, str]
) -> None:
    """R-07, A-34: on every route that names something, with every right there is, the answer is the same 404."""
    stranger = as_(set(Permission), tenant=globex)
    invented = {name: str(uuid.uuid4()) for name in ids}
    tried = 0
    for method, path in _operations(app):
        if path.removeprefix("/documents/v1/") in _OF_NO_ID:
            continue
        tried += 1
        answers = []
        for of in (ids, invented):
            answer = await _call(stranger.client, method, path, of)
            problem = {key: value for key, value in answer.json().items() if key not in ("instance", "trace_id")}
            answers.append((answer.status_code, problem))
        assert answers[0] == answers[1], (method, path)
        assert answers[0][0] == 404, (method, path)
    assert tried >= 15


@pytest.mark.parametrize("path", ["/documents/v1/documents", "/documents/v1/uploads", "/documents/v1/openings"])
async def test_a_member_of_another_tenant_cannot_be_written_about(
    app: Litestar, as_: As, globex: uuid.UUID, ids: dict[str, str], path: str
) -> None:
    """R-07: as if nobody had the id."""
    answer = await _call(as_("admin", tenant=globex).client, "POST", path, ids)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_store_is_told_of_and_not_waited_for(as_: As) -> None:
    ready = await as_("member").get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "missing": []})
