"""Against real servers on loopback, with TLS by an authority made here; no packet leaves this machine."""

import asyncio
import datetime
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common import traces
from libs.common.http_client import (
    AnswerTooLarge,
    NotAllowed,
    OutgoingError,
    Rules,
    TooSlow,
    Unreachable,
    http_client,
)

HOST = "idp.example.org"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """What a test reads of a server: its port, and the heads of the requests it got."""

    def __init__(self, answer: bytes | Answer) -> None:
        self.port = 0
        self.requests: list[str] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.decode())
                if isinstance(self._answer, bytes):
                    writer.write(self._answer)
                    await writer.drain()
                else:
                    await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: bytes | Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        listening.close_clients()
        await listening.wait_closed()


def said(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Names:
    """A resolver that gives each of its answers in turn and stays at the last."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(of the server, of the client): the client trusts this one self-made authority."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    _make_certificate(path, HOST)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


def _make_certificate(path: Path, host: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:168.63.129.16",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
async def test_an_address_inside_is_refused_as_itself_and_behind_a_name(host: str) -> None:
    url = f"https://[{host}]/" if ":" in host else f"https://{host}/"
    async with http_client() as client:
        with pytest.raises(NotAllowed):
            await client.get(url)
    async with http_client(Rules(resolver=Names([host]))) as client:
        with pytest.raises(NotAllowed):
            await client.get(f"https://{HOST}/")


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "0", "1.1.1.1.", "[::g]"]
)
async def test_a_number_that_some_resolvers_take_for_an_address_is_refused(host: str) -> None:
    names = Names(["93.184.216.34"])
    async with http_client(Rules(resolver=names)) as client:
        with pytest.raises(NotAllowed):
            await client.get(f"https://{host}/")
    assert names.asked == 0


async def test_a_name_is_refused_if_only_one_of_its_addresses_is_inside() -> None:
    async with http_client(Rules(resolver=Names(["93.184.216.34", "10.0.0.1"]))) as client:
        with pytest.raises(NotAllowed):
            await client.get(f"https://{HOST}/")


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/",
        f"https://{HOST}:8443/",
        f"https://{HOST}:22/",
        f"https://user:pass@{HOST}/",
        f"ftp://{HOST}/",
        "file:///etc/passwd",
        f"gopher://{HOST}/",
    ],
)
async def test_only_https_on_443_without_credentials_is_asked(url: str) -> None:
    names = Names(["93.184.216.34"])
    async with http_client(Rules(resolver=names)) as client:
        with pytest.raises((NotAllowed, httpx.UnsupportedProtocol)):
            await client.get(url)
    assert names.asked == 0


async def test_loopback_is_asked_where_the_setting_allows_it_and_nothing_else_in_plain_text() -> None:
    async with serving(said(b"hello")) as server, http_client(Rules(allow_loopback=True)) as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/")).text == "hello"
        with pytest.raises(NotAllowed):
            await client.get("http://10.0.0.1/")
        with pytest.raises(NotAllowed):
            await client.get("http://93.184.216.34/")


async def test_a_name_that_rebinds_is_connected_at_the_address_that_was_checked(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    of_server, of_client = tls
    async with serving(said(b"hello", "Connection: close"), of_server) as server:
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        rules = Rules(allow_loopback=True, ports={server.port}, resolver=names)
        async with http_client(rules, tls=of_client) as client:
            assert (await client.get(f"https://{HOST}:{server.port}/")).text == "hello"
            assert names.asked == 1  # a second look would have led inside
            with pytest.raises(NotAllowed):
                await client.get(f"https://{HOST}:{server.port}/")


async def test_the_certificate_is_asked_for_the_name_not_for_the_address(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    of_server, of_client = tls
    async with serving(said(b"hello"), of_server) as server:
        rules = Rules(allow_loopback=True, ports={server.port}, resolver=Names(["127.0.0.1"]))
        async with http_client(rules, tls=of_client) as client:
            with pytest.raises(Unreachable):
                await client.get(f"https://other.example.org:{server.port}/")
        async with http_client(rules) as client:  # does not know the authority
            with pytest.raises(Unreachable):
                await client.get(f"https://{HOST}:{server.port}/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_even_if_the_caller_asks_for_it(status: int) -> None:
    elsewhere = said(b"", "Location: /an/allowed/place", status=f"{status} Elsewhere")
    async with serving(elsewhere) as server, http_client(Rules(allow_loopback=True)) as client:
        with pytest.raises(NotAllowed):
            await client.get(f"http://127.0.0.1:{server.port}/", follow_redirects=True)
        assert len(server.requests) == 1


async def test_an_answer_ends_at_the_limit() -> None:
    whole, one_more = said(b"x" * 1000), said(b"x" * 1001)
    async with serving(whole) as server, http_client(Rules(allow_loopback=True), size=1000) as client:
        assert len((await client.get(f"http://127.0.0.1:{server.port}/")).content) == 1000
    async with serving(one_more) as server, http_client(Rules(allow_loopback=True), size=1000) as client:
        with pytest.raises(AnswerTooLarge):
            await client.get(f"http://127.0.0.1:{server.port}/")


async def test_an_endless_answer_ends_at_the_limit() -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    async with serving(endless) as server, http_client(Rules(allow_loopback=True)) as client:
        with pytest.raises(AnswerTooLarge):
            await client.get(f"http://127.0.0.1:{server.port}/")


async def test_a_compressed_answer_is_not_asked_for_and_not_taken() -> None:
    bomb = said(b"\x1f\x8b", "Content-Encoding: gzip")
    async with serving(bomb) as server, http_client(Rules(allow_loopback=True)) as client:
        with pytest.raises(AnswerTooLarge):
            await client.get(f"http://127.0.0.1:{server.port}/", headers={"Accept-Encoding": "gzip"})
        assert "Accept-Encoding: identity" in server.requests[0]


async def test_an_answer_that_drips_ends_with_the_time_of_the_whole() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(drip) as server, http_client(Rules(allow_loopback=True), seconds=0.3) as client:
        started = time.monotonic()
        with pytest.raises(TooSlow):
            await client.get(f"http://127.0.0.1:{server.port}/")
        assert time.monotonic() - started < 3


async def test_a_server_that_says_nothing_and_one_that_is_away() -> None:
    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with serving(silent) as server, http_client(Rules(allow_loopback=True), seconds=0.2) as client:
        port = server.port
        with pytest.raises(TooSlow):
            await client.get(f"http://127.0.0.1:{port}/")
    async with http_client(Rules(allow_loopback=True)) as client:
        with pytest.raises(Unreachable):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_a_cookie_is_not_kept_for_the_next_request() -> None:
    async with serving(said(b"", "Set-Cookie: a=b")) as server, http_client(Rules(allow_loopback=True)) as client:
        await client.get(f"http://127.0.0.1:{server.port}/")
        await client.get(f"http://127.0.0.1:{server.port}/")
        assert "cookie" not in server.requests[1].lower()


async def test_a_trusted_origin_is_asked_as_it_is_and_told_the_trace() -> None:
    async with serving(said(b"{}")) as server:
        origin = f"http://127.0.0.1:{server.port}"
        async with http_client(Rules(trusted=[origin])) as client:
            with traces.span("test"):
                await client.get(f"{origin}/identity/v1/jwks")
                trace_id = traces.current_trace_id()
        assert f"traceparent: 00-{trace_id}-" in server.requests[0]
        async with http_client(Rules(trusted=["http://127.0.0.1:1"])) as client:
            with pytest.raises(NotAllowed):
                await client.get(f"{origin}/identity/v1/jwks")


async def test_a_stranger_is_not_told_the_trace() -> None:
    async with serving(said(b"")) as server, http_client(Rules(allow_loopback=True)) as client:
        with traces.span("test"):
            await client.get(f"http://127.0.0.1:{server.port}/")
        assert "traceparent" not in server.requests[0]


async def test_environment_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(said(b"proxy")) as proxy, serving(said(b"direct")) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with http_client(Rules(allow_loopback=True)) as client:
            assert (await client.get(f"http://127.0.0.1:{server.port}/")).text == "direct"


async def test_addresses_are_checked_for_other_protocols_too() -> None:
    assert await Rules(resolver=Names(["93.184.216.34"])).addresses("smtp.example.org", 587) == ["93.184.216.34"]
    with pytest.raises(NotAllowed):
        await Rules(resolver=Names(["10.0.0.1"])).addresses("smtp.example.org", 587)
    assert await Rules().addresses("::ffff:93.184.216.34", 587)  # judged by the address inside

    async def unknown(host: str, port: int) -> list[str]:
        raise OSError

    with pytest.raises(Unreachable):
        await Rules(resolver=unknown).addresses("smtp.example.org", 587)


def test_every_failure_is_one_that_libraries_on_httpx_understand() -> None:
    assert issubclass(OutgoingError, httpx.TransportError)
    assert ipaddress.ip_address("93.184.216.34").is_global  # the stand-in for "outside" above
