"""The one client for every request that leaves the installation; where it may go is decided after the name is resolved.

A request is refused unless it is https to an allowed port and every address of its host is public; the connection is
then made to exactly those addresses, so that a name that resolves differently a moment later changes nothing. No
redirect is followed, the whole exchange ends after 5 seconds, an answer ends at 1 MiB.

OutgoingError (an httpx.TransportError, so that libraries on httpx understand it)
├── NotAllowed         the address, the port, the scheme, the host or the redirect
├── AnswerTooLarge     more than the limit, or compressed
├── TooSlow            the whole exchange took too long
└── Unreachable        no such name, no connection, no TLS, a broken answer

Addresses that the operators themselves have configured (identity's key set) are `trusted`: origins, not prefixes.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable
from enum import Enum
from typing import Any

import httpcore
import httpx

from libs.common import traces

SECONDS = 5.0
SIZE = 1024 * 1024
_CONNECT_SECONDS = 2.0

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Resolver = Callable[[str, int], Awaitable[list[str]]]

# Public on paper: translators that lead to any IPv4 address, and cloud metadata at a public address (Azure).
_NEVER = [
    ipaddress.ip_network(network)
    for network in ("64:ff9b::/96", "2002::/16", "2001::/32", "192.88.99.0/24", "168.63.129.16/32")
]


class OutgoingError(httpx.TransportError):
    """Base of all failures of an outgoing request. The message names no more than the host."""


class NotAllowed(OutgoingError):
    pass


class AnswerTooLarge(OutgoingError):
    pass


class TooSlow(OutgoingError):
    pass


class Unreachable(OutgoingError):
    pass


class Reach(Enum):
    """How far a connection may go. Each has a pool of its own, so that no connection serves another's requests."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    TRUSTED = "trusted"


class Rules:
    """Where requests may go.

    trusted: origins (`http://identity:8000`) for which neither scheme, port nor address is asked.
    allow_loopback: for the local stack and tests: http and https to loopback addresses, any port.
    """

    def __init__(
        self,
        *,
        trusted: Iterable[str] = (),
        allow_loopback: bool = False,
        ports: Collection[int] = (443,),
        resolver: Resolver | None = None,
    ) -> None:
        self._trusted = {_origin(httpx.URL(url)) for url in trusted}
        self._loopback, self._ports = allow_loopback, frozenset(ports)
        self._resolve = resolver or _resolve

    def reach(self, url: httpx.URL) -> "Reach":
        """What can be said before the name is resolved. Raises NotAllowed."""
        if url.userinfo:
            raise NotAllowed("An address with a user name or a password is not asked")
        if url.scheme not in {"http", "https"} or not url.host:
            raise NotAllowed("Only https is asked")
        if _origin(url) in self._trusted:
            return Reach.TRUSTED
        if url.scheme == "https" and (url.port or 443) in self._ports:
            return Reach.PUBLIC
        if self._loopback:
            return Reach.LOOPBACK
        raise NotAllowed("Only https is asked" if url.scheme == "http" else f"Port {url.port} is not asked")

    async def addresses(self, host: str, port: int, reach: "Reach | None" = None) -> list[str]:
        """The addresses to connect to, each of them allowed: also for protocols other than HTTP (a tenant's SMTP host).

        Raises NotAllowed if only one of them is not: a name with mixed addresses is an attempt. Raises Unreachable.
        """
        host = host.strip("[]")
        if reach is Reach.TRUSTED:
            return await self._lookup(host, port)
        if _looks_numeric(host) and not _is_address(host):
            raise NotAllowed(f"{host} is no address as one writes it")
        found = [host] if _is_address(host) else await self._lookup(host, port)
        if not all(self._is_allowed(ipaddress.ip_address(address.partition("%")[0]), reach) for address in found):
            raise NotAllowed(f"{host} does not lead to a public address")
        return found

    async def _lookup(self, host: str, port: int) -> list[str]:
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{host} is not known") from error
        if not found:
            raise Unreachable(f"{host} is not known")
        return found

    def _is_allowed(self, address: Address, reach: "Reach | None") -> bool:
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if address.is_loopback:
            return self._loopback
        return (
            reach is not Reach.LOOPBACK
            and address.is_global
            and not address.is_multicast
            and not address.is_reserved
            and not any(address in network for network in _NEVER)
        )


def http_client(
    rules: Rules | None = None, *, seconds: float = SECONDS, size: int = SIZE, tls: ssl.SSLContext | None = None
) -> httpx.AsyncClient:
    """A client of httpx in which every rule holds, whatever its caller asks for. Close it when the process ends."""
    return _Client(
        transport=SafeTransport(rules or Rules(), seconds=seconds, size=size, tls=tls),
        timeout=seconds,
        trust_env=False,
        headers={"User-Agent": "control-centre"},
    )


class _Client(httpx.AsyncClient):
    def build_request(self, *args: Any, **kwargs: Any) -> httpx.Request:
        try:
            return super().build_request(*args, **kwargs)
        except httpx.InvalidURL as error:  # not one of httpx's HTTPErrors, and its text is the whole address
            raise NotAllowed("This is no address that can be asked") from error


class SafeTransport(httpx.AsyncBaseTransport):
    """The rules as a transport, for libraries that bring their own client (Authlib)."""

    def __init__(
        self, rules: Rules, *, seconds: float = SECONDS, size: int = SIZE, tls: ssl.SSLContext | None = None
    ) -> None:
        self._rules, self._seconds, self._size = rules, seconds, size
        tls = tls or httpx.create_ssl_context()
        self._pools = {
            reach: httpcore.AsyncConnectionPool(
                ssl_context=tls, keepalive_expiry=15, network_backend=_Pinned(rules, reach)
            )
            for reach in Reach
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reach = self._rules.reach(request.url)
        request.headers["Accept-Encoding"] = "identity"  # a megabyte compressed may be a gigabyte
        with traces.span("outgoing", kind=traces.SpanKind.CLIENT, host=request.url.host):
            if reach is Reach.TRUSTED and (traceparent := traces.current_traceparent()):
                request.headers["traceparent"] = traceparent
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._exchange(self._pools[reach], request)
            except TimeoutError as error:
                raise TooSlow(f"{request.url.host} took more than {self._seconds:g} s", request=request) from error
            except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
                raise Unreachable(f"{request.url.host}: {type(error).__name__}", request=request) from error

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def _exchange(self, pool: httpcore.AsyncConnectionPool, request: httpx.Request) -> httpx.Response:
        url = request.url
        outgoing = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions={key: value for key, value in request.extensions.items() if key == "timeout"},
        )
        answer = await pool.handle_async_request(outgoing)
        try:
            headers = httpx.Headers(answer.headers)
            if answer.status in {301, 302, 303, 307, 308}:
                raise NotAllowed(f"{url.host} sends elsewhere; redirects are not followed", request=request)
            if headers.get("content-encoding", "identity").lower() != "identity":
                raise AnswerTooLarge(f"{url.host} sent a compressed answer", request=request)
            body = await self._read(answer, request)
        finally:
            await answer.aclose()
        # A cookie would be kept by the client and sent for another tenant.
        kept = [(name, value) for name, value in answer.headers if name.lower() != b"set-cookie"]
        return httpx.Response(answer.status, headers=kept, content=body, request=request)

    async def _read(self, answer: httpcore.Response, request: httpx.Request) -> bytes:
        body = bytearray()
        async for chunk in answer.aiter_stream():
            body += chunk
            if len(body) > self._size:
                raise AnswerTooLarge(f"{request.url.host} sent more than {self._size} bytes", request=request)
        return bytes(body)


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, never to a name. TLS still asks for the name."""

    def __init__(self, rules: Rules, reach: Reach) -> None:
        self._rules, self._reach = rules, reach
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: Exception = Unreachable(f"{host} cannot be reached")
        for address in await self._rules.addresses(host, port, self._reach):
            try:
                return await self._inner.connect_tcp(address, port, timeout=_CONNECT_SECONDS)
            except (httpcore.NetworkError, httpcore.TimeoutException, OSError) as error:
                failed = error
        raise failed

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise NotAllowed("A socket file is not asked")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _looks_numeric(host: str) -> bool:
    """2130706433, 0x7f.1, 127.1: some resolvers take these for addresses (WHATWG URL, "ends in a number")."""
    last = host.rstrip(".").rpartition(".")[2]
    return re.fullmatch(r"\d+|0[xX][0-9a-fA-F]*", last) is not None
