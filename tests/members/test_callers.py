"""Every route knows four callers: anonymous, from another tenant, without the right, with it (R-07)."""

import uuid
from typing import Any, NamedTuple

import pytest

from libs.common.permissions import Permission
from tests.members.conftest import MEMBERS, As, add

ANY_JOB = "01937b1e-7c00-7a3b-8f5e-3d2c1b0a9f8e"


class Route(NamedTuple):
    method: str
    path: str
    right: Permission
    status: int
    body: Any = None
    if_match: bool = False


# {id} is a member of acme; what the one with the right is answered.
ROUTES = [
    Route("GET", "/members/v1/tenant", Permission.TENANT_READ, 200),
    Route("PATCH", "/members/v1/tenant", Permission.TENANT_WRITE, 200, {"name": "Acme"}, if_match=True),
    Route("GET", "/members/v1/seats", Permission.MEMBERS_READ, 200),
    Route("GET", "/members/v1/tasks", Permission.MEMBERS_READ, 200),
    Route("GET", MEMBERS, Permission.MEMBERS_READ, 200),
    Route("POST", MEMBERS, Permission.MEMBERS_WRITE, 201, {"login_name": "eve", "display_name": "Eve"}),
    Route("GET", MEMBERS + "/{id}", Permission.MEMBERS_READ, 200),
    Route("PATCH", MEMBERS + "/{id}", Permission.MEMBERS_WRITE, 200, {"display_name": "Robert"}, if_match=True),
    Route("DELETE", MEMBERS + "/{id}", Permission.MEMBERS_DELETE, 200, if_match=True),
    Route("POST", MEMBERS + "/{id}/restore", Permission.MEMBERS_DELETE, 409),
    Route("POST", MEMBERS + "/{id}/invite", Permission.MEMBERS_INVITE, 200),
    Route("POST", MEMBERS + "/{id}/readdress", Permission.MEMBERS_INVITE, 409, {"email": "b@example.org"}),
    Route("PUT", MEMBERS + "/{id}/presets", Permission.MEMBERS_INVITE, 200, {"tags": ["new"]}, if_match=True),
    Route("POST", MEMBERS + "/{id}/local-access", Permission.MEMBERS_CREDENTIALS, 422),
    Route("POST", MEMBERS + "/{id}/revoke", Permission.MEMBERS_REVOKE, 409),
    Route("POST", MEMBERS + "/{id}/lock", Permission.MEMBERS_LOCK, 200),
    Route("POST", MEMBERS + "/{id}/unlock", Permission.MEMBERS_LOCK, 409),
    Route("POST", MEMBERS + "/{id}/deactivate", Permission.MEMBERS_DEACTIVATE, 200),
    Route("POST", MEMBERS + "/{id}/reactivate", Permission.MEMBERS_DEACTIVATE, 409),
    Route(
        "PUT",
        MEMBERS + "/{id}/dates",
        Permission.MEMBERS_WRITE,
        200,
        {"starts_at": None, "ends_at": None},
        if_match=True,
    ),
    Route("GET", MEMBERS + "/{id}/history", Permission.HISTORY_READ, 200),
    Route("POST", "/members/v1/bulk/invite", Permission.MEMBERS_INVITE, 202, {"ids": ["{id}"]}),
    Route("POST", "/members/v1/bulk/revoke", Permission.MEMBERS_REVOKE, 202, {"ids": ["{id}"]}),
    Route("GET", f"/members/v1/jobs/{ANY_JOB}", Permission.MEMBERS_READ, 404),
    Route("GET", f"/members/v1/jobs/{ANY_JOB}/items", Permission.MEMBERS_READ, 404),
    Route("POST", f"/members/v1/jobs/{ANY_JOB}/withdraw", Permission.MEMBERS_INVITE, 404),
    Route("POST", f"/members/v1/tasks/{ANY_JOB}/close", Permission.MEMBERS_WRITE, 404),
]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_four_callers(as_: As, acme: uuid.UUID, globex: uuid.UUID, route: Route) -> None:
    """R-07: 401, 404 as for an id that never was, 403, and the answer for who may."""
    bob = await add(as_("admin", acme))

    async def call(who: Any, tenant: uuid.UUID | None = None, member: str = bob["id"]) -> tuple[int, Any]:
        body = None if route.body is None else {**route.body}
        if body and "ids" in body:
            body["ids"] = [member]
        headers = {"If-Match": '"1"'} if route.if_match else {}
        answer = await as_(who, tenant).request(
            route.method, route.path.replace("{id}", member), json=body, headers=headers
        )
        told = answer.json() if answer.content else {}
        return answer.status_code, {k: v for k, v in told.items() if k not in ("trace_id", "instance")}

    assert (await call(None))[0] == 401
    assert (await call("operator"))[0] == 401
    assert (await call(frozenset(Permission) - {route.right}, acme))[0] == 403
    if "{id}" in route.path:
        outsider = await call("owner", globex)
        assert outsider[0] == 404
        assert outsider == await call("owner", globex, str(uuid.uuid4()))
    assert (await call({route.right}, acme))[0] == route.status


OPERATOR = "/members/v1/operator/tenants"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", OPERATOR), ("POST", OPERATOR), ("GET", OPERATOR + "/{id}"), ("PATCH", OPERATOR + "/{id}"),
     ("POST", OPERATOR + "/{id}/owner")],
)  # fmt: skip
async def test_operators_routes_are_for_operators(as_: As, acme: uuid.UUID, method: str, path: str) -> None:
    """R-07: not even an owner's token opens them."""
    for who, tenant in ((None, None), ("owner", acme)):
        assert (await as_(who, tenant).request(method, path.format(id=acme), json={})).status_code == 401


async def test_every_route_is_in_the_table(as_: As, app: Any) -> None:
    """A new route is tried with all callers, too."""
    known = {(route.method, route.path.replace(ANY_JOB, "{id}")) for route in ROUTES}
    known |= {("GET", OPERATOR), ("POST", OPERATOR), ("GET", OPERATOR + "/{id}"), ("PATCH", OPERATOR + "/{id}"),
              ("POST", OPERATOR + "/{id}/owner"), ("GET", "/members/v1/me")}  # fmt: skip
    for route in app.routes:
        path = "/".join("{id}" if part.startswith("{") else part for part in route.path_format.split("/"))
        for method in route.methods - {"OPTIONS", "HEAD"} if path.startswith("/members/v1/") else ():
            assert (method, path) in known
