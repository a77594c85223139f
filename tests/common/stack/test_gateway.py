"""One origin: prefixes lead to their service, nothing a client sends passes for the gateway's word."""

import json
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from libs.common.stack.gateway import Gateway
from libs.common.stack.group import Group

pytestmark = pytest.mark.xdist_group("stack-gateway")


class Echo(BaseHTTPRequestHandler):
    """A service that tells what reached it."""

    def do_GET(self) -> None:
        port = self.connection.getsockname()[1]
        body = json.dumps({"port": port, "path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, ThreadingHTTPServer]]:
    servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), Echo) for name in ("identity", "members")}
    for server in servers.values():
        Thread(target=server.serve_forever, daemon=True).start()
    yield servers
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def gateway(services: dict[str, ThreadingHTTPServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Group(tmp_path_factory.mktemp("gateway")) as group:
        ports = {name: int(server.server_address[1]) for name, server in services.items()}
        part = Gateway(group.state, {**ports, "documents": group.state.port("nobody")}, None)
        group.bring_up(part)
        yield part


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/members/v1/members?a=b%2Fc", "members"),
        ("/t/acme/sign-in", "identity"),
        ("/", "identity"),
        ("/docs", "identity"),
    ],
)
async def test_a_prefix_leads_to_its_service_unchanged(
    client: httpx.AsyncClient, services: dict[str, ThreadingHTTPServer], path: str, service: str
) -> None:
    seen = (await client.get(path)).json()
    assert (seen["port"], seen["path"]) == (services[service].server_address[1], path)


async def test_what_a_client_forges_does_not_arrive(client: httpx.AsyncClient, gateway: Gateway) -> None:
    forged = dict.fromkeys(
        ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "X-Forwarded-Prefix"),
        "forged.test",
    )
    headers = (await client.get("/members/", headers=forged)).json()["headers"]
    assert "forged.test" not in headers.values()
    assert headers["X-Forwarded-For"] in ("127.0.0.1", "::1")
    assert headers["X-Forwarded-Host"] == headers["Host"] == f"localhost:{gateway.port}"


async def test_a_service_that_is_away_is_503_with_a_time(client: httpx.AsyncClient) -> None:
    answer = await client.get("/documents/v1/documents")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "unavailable"


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/livez", "/nothing", "/members"])
async def test_what_belongs_to_no_service_is_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
