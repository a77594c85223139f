import asyncio
import traceback
import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import structlog
from httpx import ASGITransport, AsyncClient
from litestar import Litestar, Request, Response, Router, get, post
from litestar.params import FromPath
from litestar.response import Stream
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from libs.common import logs, traces
from libs.common.app import build_app
from libs.common.auth import AUTHENTICATED
from libs.common.request_context import API_CSP, RequestContext, client_ip
from tests.conftest import ClientOf, CoreOf, TokenFor

HEADERS = {
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": API_CSP,
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@get("/things/{thing_id:str}")
async def read_thing(request: Request, thing_id: FromPath[str]) -> dict[str, str]:
    return {"trace_id": traces.current_trace_id(), "ip": client_ip(request), "id": request.state.request_id}


@get("/page")
async def read_page() -> Response[str]:
    csp = "default-src 'self'"
    headers = {"Content-Security-Policy": csp, "Cache-Control": "max-age=60", "Referrer-Policy": "same-origin"}
    return Response("<p>", headers=headers, media_type="text/html")


@get("/broken")
async def broken() -> None:
    raise RuntimeError("never shown")


@get("/half")
async def half() -> Stream:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"some"
        raise RuntimeError("in the middle")

    return Stream(chunks())


@post("/tenant")
async def named() -> None:
    logs.bind(tenant_id="acme")


@pytest.fixture
def app() -> Litestar:
    app = Litestar(
        [read_thing, read_page, broken, half, named],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=1000,
        debug=False,
    )
    app.asgi_handler = RequestContext(app.asgi_handler, "members", "10.0.0.0/8, 2001:db8::/32,127.0.0.1/32")
    return app


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[AsyncClient]:
    transport = ASGITransport(cast(Any, app), raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://members.test") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status"), [("/things/a", 200), ("/nowhere", 404), ("/tenant", 405), ("/broken", 500)]
)
async def test_every_answer_carries_the_headers(client: AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert answer.status_code == status
    assert HEADERS.items() <= dict(answer.headers).items()
    assert "camera=()" in answer.headers["permissions-policy"]
    assert answer.headers["x-request-id"]


async def test_an_answer_keeps_what_it_has_set_itself_once(client: AsyncClient) -> None:
    answer = await client.get("/page")
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert answer.headers.get_list("cache-control") == ["max-age=60"]
    assert answer.headers.get_list("referrer-policy") == ["same-origin"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_well_formed_request_id_is_kept_and_another_is_not(client: AsyncClient) -> None:
    answer = await client.get("/things/a", headers={"X-Request-Id": "gateway-0123456789"})
    assert answer.headers.get_list("x-request-id") == ["gateway-0123456789"]
    assert answer.json()["id"] == "gateway-0123456789"
    for bad in ("short", "x" * 41, "a b c d e f g", "id;rm -rf", "<script>alert(1)", "ünïcödé12"):
        answer = await client.get("/things/a", headers=[(b"x-request-id", bad.encode())])
        assert answer.headers["x-request-id"] != bad
        assert len(answer.headers["x-request-id"]) == 32


async def test_request_ids_differ(client: AsyncClient) -> None:
    assert len({(await client.get("/things/a")).headers["x-request-id"] for _ in range(5)}) == 5


async def test_the_trace_goes_on_or_begins(client: AsyncClient) -> None:
    sent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    assert (await client.get("/things/a", headers=sent)).json()["trace_id"] == TRACE
    begun = (await client.get("/things/a")).json()["trace_id"]
    assert len(begun) == 32
    assert begun != TRACE
    assert traces.current_trace_id() == ""


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # a stranger may write what he likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8:1::1]:4711", "2001:db8::2"], "2001:db8:1::1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ],
)
async def test_the_client_is_the_first_hop_from_the_right_that_is_not_trusted(
    app: Litestar, peer: str, forwarded: list[str], expected: str
) -> None:
    transport = ASGITransport(cast(Any, app), client=(peer, 1234))
    async with AsyncClient(transport=transport, base_url="http://members.test") as client:
        answer = await client.get("/things/a", headers=[("X-Forwarded-For", value) for value in forwarded])
    assert answer.json()["ip"] == expected


async def test_the_line_names_the_route_and_never_what_was_asked(client: AsyncClient) -> None:
    with capture_logs() as lines:
        await client.get("/things/s3cret-code?code=s3cret-code&token=x")
        await client.get("/s3cret-code")
    assert [(line["event"], line["method"], line["route"], line["status"]) for line in lines] == [
        ("request", "GET", "/things/{thing_id}", 200),
        ("request", "GET", "unmatched", 404),
    ]
    assert all(line["ms"] >= 0 for line in lines)
    assert "s3cret" not in str(lines)


async def test_what_is_bound_during_a_request_ends_with_it(client: AsyncClient) -> None:
    await client.post("/tenant")
    assert structlog.contextvars.get_contextvars() == {}
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await client.post("/tenant")
        await client.get("/things/a")
    assert [line.get("tenant_id") for line in lines] == ["acme", None]
    assert all(len(line["trace_id"]) == 32 and line["request_id"] for line in lines)


async def test_figures_are_by_template(client: AsyncClient) -> None:
    labels = {"method": "GET", "route": "/things/{thing_id}", "status": "200"}
    before = REGISTRY.get_sample_value("http_requests_total", labels) or 0
    for path in ("/things/a", "/things/b"):
        await client.get(path)
    await client.request("BREW", "/things/a")
    assert REGISTRY.get_sample_value("http_requests_total", labels) == before + 2
    other = {"method": "OTHER", "route": "unmatched", "status": "405"}
    assert REGISTRY.get_sample_value("http_requests_total", other)
    assert REGISTRY.get_sample_value("http_requests_open") == 0


async def test_probes_are_no_news(client: AsyncClient) -> None:
    @get(["/livez", "/readyz"])
    async def fine() -> None:
        return None

    app = Litestar([fine], openapi_config=None, logging_config=None)
    app.asgi_handler = RequestContext(app.asgi_handler, "members")
    async with AsyncClient(transport=ASGITransport(cast(Any, app)), base_url="http://members.test") as client:
        with capture_logs() as lines:
            await client.get("/livez")
            await client.post("/readyz")
    assert [line["status"] for line in lines] == [405]


async def test_head_is_get_without_the_body(app: Litestar, client: AsyncClient) -> None:
    got, head = await client.get("/page"), await client.head("/page")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (await client.head("/tenant")).status_code == 405
    sent: list[Message] = []
    await app(cast(Any, {**_scope("/page"), "method": "HEAD"}), _receive, _sender(sent))
    assert [message.get("body") for message in sent] == [None, b""]


async def test_an_error_outside_of_the_application_is_a_problem_too(client: AsyncClient) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("s3cret")

    with capture_logs() as lines:
        answer = await _call(RequestContext(cast(ASGIApp, broken), "members"))
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal"
    assert len(answer.json()["trace_id"]) == 32
    assert "s3cret" not in answer.text
    assert [(line["event"], line["ended"], line["log_level"]) for line in lines] == [("request", "died", "error")]
    assert "s3cret" in str(lines[0]["exc_info"])


async def test_half_an_answer_is_told_once_and_breaks_the_connection(app: Litestar) -> None:
    sent: list[Message] = []
    with capture_logs() as lines, pytest.raises(Exception, match="after response started"):
        await app(_scope("/half"), _receive, _sender(sent))
    assert [(line["event"], line["ended"], line["status"]) for line in lines] == [("request", "died", 200)]
    assert "in the middle" in "".join(traceback.format_exception(lines[0]["exc_info"]))
    assert not any(message["type"] == "http.response.body" and not message.get("more_body") for message in sent)


async def test_a_cancelled_request_is_told_once() -> None:
    begun = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.sleep(60)

    before = REGISTRY.get_sample_value("http_requests_died_total", {"why": "cancelled"}) or 0
    with capture_logs() as lines:
        running = asyncio.create_task(
            cast(Any, RequestContext(cast(ASGIApp, slow), "members"))(_scope("/"), _receive, _sender([]))
        )
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [(line["event"], line["ended"]) for line in lines] == [("request", "cancelled")]
    assert REGISTRY.get_sample_value("http_requests_died_total", {"why": "cancelled"}) == before + 1


async def _call(app: Any) -> Any:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://members.test") as client:
        return await client.get("/")


def _scope(path: str) -> Any:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "client": None}


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def _sender(sent: list[Message]) -> Send:
    async def send(message: Message) -> None:
        sent.append(message)

    return send


async def test_a_line_belongs_to_the_tenant_of_the_token(
    core_of: CoreOf, client_of: ClientOf, token_for: TokenFor, acme: uuid.UUID
) -> None:
    @get("/members/v1/things", permission=AUTHENTICATED)
    async def list_things() -> list[str]:
        return []

    app = build_app(await core_of("members"), [Router("/", route_handlers=[list_things])])
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await client_of(app, token_for("member", acme)).get("/members/v1/things")
        await client_of(app).get("/members/v1/things")
    assert [(line["status"], line.get("tenant_id")) for line in lines] == [(200, str(acme)), (401, None)]


async def test_before_an_early_answer_the_rest_of_the_body_is_thrown_away() -> None:
    """Else the connection is reset on unread bytes, and a gateway makes a 503 of the refusal."""
    heard: list[str] = []

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"too large", "more_body": False})

    async def receive() -> Any:
        heard.append("rest")
        return {"type": "http.request", "body": b"x", "more_body": len(heard) < 3}

    async def send(message: Any) -> None:
        heard.append(message["type"])

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"3")], "client": None}
    await RequestContext(refuse, "test")(cast(Any, scope), receive, send)
    assert heard == ["rest", "rest", "rest", "http.response.start", "http.response.body"]
    heard.clear()
    scope["headers"] = [(b"content-length", b"3"), (b"expect", b"100-continue")]  # it waits, and sends nothing
    await RequestContext(refuse, "test")(cast(Any, scope), receive, send)
    assert heard == ["http.response.start", "http.response.body"]
