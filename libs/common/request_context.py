"""What surrounds every request, also one that no route takes: its ids and span, security headers, a log line, metrics.

The outermost layer of an application: `app.asgi_handler = RequestContext(app.asgi_handler, …)`. (Litestar's own
middleware stands behind the router and does not see a 404.) HEAD is answered as GET without the body.
"""

import asyncio
import ipaddress
import os
import re
import time
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

import msgspec
import structlog
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from prometheus_client import Counter, Histogram

from libs.common import metrics, traces, unread

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body where a handler says nothing else: Litestar's request_max_body_size, which answers 413."""

API_CSP = "default-src 'none'; frame-ancestors 'none'"

_DENIED = "accelerometer camera display-capture geolocation gyroscope magnetometer microphone midi payment usb"

# An answer that has set one of these itself keeps its own.
_HEADERS: list[tuple[bytes, bytes]] = [
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", API_CSP.encode()),
    (b"cache-control", b"no-store"),
    (b"permissions-policy", ", ".join(f"{feature}=()" for feature in _DENIED.split()).encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{8,40}")
_log = structlog.get_logger()

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RequestContext:
    """trusted_proxies: networks whose X-Forwarded-For is believed, comma-separated."""

    def __init__(self, app: ASGIApp, service: str, trusted_proxies: str = "") -> None:
        self._app, self._service = app, service
        trusted = [ipaddress.ip_network(part.strip()) for part in trusted_proxies.split(",") if part.strip()]
        self._client_ip = lru_cache(4096)(partial(_client_ip, trusted))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        given = _read(scope)
        request_id = given.request_id or os.urandom(16).hex()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["without_body"] = scope["method"] == "HEAD"
        state["client_ip"] = (
            self._client_ip(_peer(scope), ",".join(given.forwarded)) if given.forwarded else _peer(scope)
        )
        with traces.span("request", given.traceparent, kind=traces.SpanKind.SERVER, request_id=request_id) as span:
            structlog.contextvars.bind_contextvars(request_id=request_id, trace_id=traces.current_trace_id())
            body = unread.Body(receive) if unread.comes_with_body(scope["headers"]) else None
            answer = _Answer(send, request_id.encode(), without_body=scope["method"] == "HEAD", asked=body)
            started = time.perf_counter()
            metrics.HTTP_OPEN.inc()
            why = ""
            try:
                why = await self._run(scope, body or receive, answer)
            except asyncio.CancelledError:
                why = "cancelled"
                raise
            except Exception as error:
                why, answer.failure = "died", error
                raise
            finally:
                metrics.HTTP_OPEN.dec()
                route = _route(scope)
                if span.is_recording():
                    span.update_name(f"{answer.method} {route}")
                    span.set_attribute("http.route", route)
                    span.set_attribute("http.response.status_code", answer.status)
                _note(answer, route, why, time.perf_counter() - started)
                structlog.contextvars.clear_contextvars()

    async def _run(self, scope: HTTPScope, receive: Receive, answer: "_Answer") -> str:
        """The application's answer, or ours where it ended without one. Gives why it was none."""
        answer.method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            if answer.status:
                raise  # half an answer is out: only a broken connection says so
            answer.failure = error
            await _send_internal_error(scope, answer)
            return "died"
        return "" if answer.complete else "gone"


def client_ip(connection: ASGIConnection) -> str:
    """The address of who asks, seen through trusted proxies only; empty where there is none (a socket file)."""
    return str(connection.scope["state"].get("client_ip", ""))


class _Given(msgspec.Struct):
    """What we read of the request's headers."""

    request_id: str | None = None
    traceparent: str | None = None
    forwarded: list[str] = []


def _read(scope: HTTPScope) -> _Given:
    given = _Given()
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            given.request_id = value.decode()
        elif name == b"traceparent":
            given.traceparent = value.decode("latin-1")
        elif name == b"x-forwarded-for":
            given.forwarded.append(value.decode("latin-1"))
    return given


def _peer(scope: HTTPScope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _client_ip(trusted: Iterable[Network], peer: str, forwarded: str) -> str:
    """Walks from the peer to the left through trusted hops. The first that is not trusted is the client; what stands
    left of it was written by the client and means nothing.
    """
    found = peer
    for hop in reversed(forwarded.split(",")):
        if not _is_in(found, trusted):
            break
        address = _address(hop.strip())
        if address is None:
            break
        found = address
    return found


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    found = _address(address)
    return found is not None and any(ipaddress.ip_address(found) in network for network in networks)


@lru_cache(4096)
def _address(text: str) -> str | None:
    """An address without port, brackets, or the IPv6 coat of an IPv4 address; None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class _Answer:
    """Passes the answer on with our headers, once all that was asked is read, and remembers how far it came."""

    def __init__(self, send: Send, request_id: bytes, *, without_body: bool, asked: unread.Body | None) -> None:
        self._send, self._request_id, self._without_body, self._asked = send, request_id, without_body, asked
        self.method = ""
        self.status = 0
        self.complete = False
        self.failure: Exception | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._asked is not None and not self._asked.ended:
                await self._asked.discard()
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            headers += [header for header in _HEADERS if header[0] not in names]
            headers.append((b"x-request-id", self._request_id))
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body":
            more = message.get("more_body", False)
            if self._without_body:
                message = {"type": "http.response.body", "body": b"", "more_body": more}
            await self._send(message)
            self.complete = self.complete or not more
            return
        await self._send(message)


@lru_cache(4096)
def _template(path: str) -> str:
    """/members/v1/tags/{tag_id:uuid} without the types."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


def _route(scope: Any) -> str:
    """Never the path itself: it may hold a code, and it is anybody's text."""
    return _template(scope["path_template"]) if "path_template" in scope else "unmatched"


@lru_cache(4096)
def _figures(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return metrics.HTTP_REQUESTS.labels(method, route, str(status)), metrics.HTTP_SECONDS.labels(method, route)


def _note(answer: _Answer, route: str, why: str, took: float) -> None:
    counted, timed = _figures(answer.method, route, answer.status)
    counted.inc()
    timed.observe(took)
    if why:
        metrics.HTTP_DIED.labels(why).inc()
    elif route in _QUIET and answer.status < 400:
        return
    line: dict[str, Any] = {"method": answer.method, "route": route, "status": answer.status}
    line["ms"] = round(took * 1000, 1)
    if why:
        line["ended"] = why
    if answer.failure is not None:
        line["exc_info"] = answer.failure
    if answer.status == 500 or answer.failure is not None:
        _log.error("request", **line)
    elif why or answer.status > 500:
        _log.warning("request", **line)
    else:
        _log.info("request", **line)


async def _send_internal_error(scope: HTTPScope, send: Send) -> None:
    """For errors outside of the application's own handlers; the same shape as theirs."""
    problem = {
        "type": "urn:control-centre:internal",
        "title": "Something went wrong here",
        "status": 500,
        "code": "internal",
        "instance": scope["path"],
        "trace_id": traces.current_trace_id(),
    }
    headers = [(b"content-type", b"application/problem+json")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(problem), "more_body": False})
