"""The guard: who comes in through which route, with which answer."""

import time
import uuid
from typing import Any, cast

import pytest
from httpx import ASGITransport, AsyncClient
from litestar import Litestar, Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.params import FromPath

from libs.common.auth import AUTHENTICATED, PUBLIC, require_permission, require_stated_permissions
from libs.common.bus import Bus
from libs.common.errors import AppError
from libs.common.keys import KeyRing
from libs.common.permissions import Permission
from libs.common.revocation import Revocations, membership_below
from libs.common.tokens import IssuerKeys, TokenVerifier
from tests.conftest import ISSUER, ClientOf, TokenFor


@get("/public", permission=PUBLIC)
async def show_public() -> str:
    return "public"


@get("/mine", permission=AUTHENTICATED)
async def show_mine(request: Request) -> str:
    return str(request.user.kind)


@get("/members", permission=Permission.MEMBERS_READ)
async def show_members(request: Request) -> str:
    return str(request.user.id)


@post("/members", permission=Permission.MEMBERS_WRITE)
async def add_member() -> None:
    return None


@get("/files/{path:path}", permission=AUTHENTICATED)
async def show_file(path: FromPath[str]) -> str:
    return path


@get("/operator/tenants", permission=AUTHENTICATED, operator=True)
async def show_tenants(request: Request) -> str:
    return str(request.user.kind)


@post("/operator/sessions", permission=PUBLIC)
async def sign_in() -> None:
    return None


HANDLERS = [show_public, show_mine, show_members, add_member, show_file, show_tenants, sign_in]


def _show(_: Request, error: AppError) -> Response[dict[str, object]]:
    return Response({"code": error.code(), **error.params}, status_code=error.status)


def _build(handlers: list[Any], **state: Any) -> Litestar:
    app = Litestar(
        [Router("/members/v1", route_handlers=handlers)],
        guards=[require_permission],
        exception_handlers={AppError: _show},
        state=State(state),
        openapi_config=None,
    )
    require_stated_permissions(app)
    return app


@pytest.fixture
def revocations() -> Revocations:
    table = Revocations(Bus("nats://nobody@127.0.0.1:1"))
    table.mark_read()
    return table


@pytest.fixture
def app(keys_dir: Any, revocations: Revocations) -> Litestar:
    keys = IssuerKeys(KeyRing(keys_dir, "token"))
    return _build(HANDLERS, verifier=TokenVerifier(keys, ISSUER, revocations.refuses))


async def _status(app: Litestar, path: str, *authorization: str, method: str = "GET") -> int:
    async with AsyncClient(transport=ASGITransport(cast(Any, app)), base_url=ISSUER) as client:
        headers = [(b"Authorization", value.encode("latin-1")) for value in authorization]
        return (await client.request(method, f"/members/v1{path}", headers=headers)).status_code


@pytest.mark.parametrize(
    ("path", "anonymous", "member", "reader", "operator"),
    [
        ("/public", 200, 200, 200, 200),
        ("/mine", 401, 200, 200, 401),
        ("/members", 401, 403, 200, 401),
        ("/files/a", 401, 200, 200, 401),
        ("/files/v1/operator/a", 401, 200, 200, 401),  # the route as written decides, not the path as asked for
        ("/operator/tenants", 401, 401, 401, 200),
        ("/nowhere", 404, 404, 404, 404),
    ],
)
async def test_four_callers(
    app: Litestar,
    token_for: TokenFor,
    acme: uuid.UUID,
    path: str,
    anonymous: int,
    member: int,
    reader: int,
    operator: int,
) -> None:
    assert await _status(app, path) == anonymous
    assert await _status(app, path, f"Bearer {token_for('member', acme)}") == member
    assert await _status(app, path, f"Bearer {token_for({'members:read'}, acme)}") == reader
    assert await _status(app, path, f"Bearer {token_for('operator')}") == operator


async def test_a_right_is_one_right(app: Litestar, token_for: TokenFor, acme: uuid.UUID) -> None:
    for rights, expected in (({"members:read"}, 403), ({"members:write:own"}, 403), ({"members:write"}, 201)):
        assert await _status(app, "/members", f"Bearer {token_for(rights, acme)}", method="POST") == expected


async def test_the_authorization_header_is_read_strictly(app: Litestar, token_for: TokenFor, acme: uuid.UUID) -> None:
    token = token_for("member", acme)
    assert await _status(app, "/mine", f"bearer {token}") == 200
    refused: list[tuple[str, ...]] = [
        (f"Bearer  {token}",),
        (f"Basic {token}",),
        (token,),
        ("Bearer",),
        ("Bearer ",),
        ("Bearer é",),
        (f"Bearer {token}", f"Bearer {token}"),
        (f"Bearer {token}, Bearer {token}",),
    ]
    for headers in refused:
        assert await _status(app, "/mine", *headers) == 401, headers
    assert await _status(app, f"/mine?access_token={token}") == 401


async def test_a_cold_table_is_503_with_a_time_to_come_back(
    app: Litestar, revocations: Revocations, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID
) -> None:
    revocations.ready = False
    client = client_of(app, token_for("member", acme))
    answer = await client.get("/members/v1/mine")
    assert (answer.status_code, answer.json()) == (503, {"code": "unavailable", "retry_after": 1})
    assert (await client.get("/members/v1/public")).status_code == 200
    assert (await client_of(app).get("/members/v1/mine")).status_code == 401
    revocations.ready = True
    assert (await client.get("/members/v1/mine")).status_code == 200


async def test_a_revoked_membership_is_401_at_once(
    app: Litestar, revocations: Revocations, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID
) -> None:
    member = uuid.uuid4()
    client = client_of(app, token_for("member", acme, id=member, authorisation_version=4))
    assert (await client.get("/members/v1/mine")).status_code == 200
    revocations.apply(membership_below(member, 5).subject, b'{"av":5}')
    assert (await client.get("/members/v1/mine")).status_code == 401
    renewed = client_of(app, token_for("member", acme, id=member, authorisation_version=5))
    assert (await renewed.get("/members/v1/mine")).status_code == 200


async def test_an_expired_token_is_401_though_it_was_good_before(
    app: Litestar, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID
) -> None:
    verifier: TokenVerifier = app.state.verifier
    client = client_of(app, token_for("member", acme))
    assert (await client.get("/members/v1/mine")).status_code == 200
    verifier._clock = lambda: time.time() + 301
    assert (await client.get("/members/v1/mine")).status_code == 401


@get("/silent")
async def silent() -> None:
    return None


@get("/tenants", permission=AUTHENTICATED, operator=True)
async def operator_elsewhere() -> None:
    return None


@get("/operator/members", permission=AUTHENTICATED)
async def member_under_operator() -> None:
    return None


@get("/operator", permission=Permission.MEMBERS_READ)
async def member_at_operator() -> None:
    return None


@pytest.mark.parametrize("handler", [silent, operator_elsewhere, member_under_operator, member_at_operator])
def test_an_application_that_does_not_say_who_may_come_in_does_not_start(handler: Any) -> None:
    with pytest.raises(TypeError, match=r"states no permission|operator=True"):
        _build([handler])
