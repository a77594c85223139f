"""The key set is fetched beside the requests, from a real server that can be told to be away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey

from libs.common.jwks import Jwks
from tests.common.waiting import until


def _key(kid: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid})


# A good key, at the end of more than is read. It says nothing random, so that all workers collect the same tests.
TOO_LARGE = '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"b","x":"' + "A" * 43 + '"}]}' + " " * 70_000


class Identity:
    """A server with one page: its answer can be changed, and it counts who asked."""

    def __init__(self, *keys: Any) -> None:
        self.asked = 0
        self.paths: set[str] = set()
        self.status = 200
        self.serve(*keys)

    def serve(self, *keys: Any) -> None:
        self.body = json.dumps({"keys": [key if isinstance(key, dict) else key.as_dict(private=False) for key in keys]})

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        self.paths.add(request.split()[1].decode())
        head = f"HTTP/1.1 {self.status} X\r\nConnection: close\r\nContent-Length: {len(self.body)}\r\n\r\n"
        writer.write((head + self.body).encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def _serving(identity: Identity, port: int = 0) -> AsyncIterator[int]:
    server = await asyncio.start_server(identity.answer, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def _running(port: int, *, every: float = 60, not_sooner: float = 0.05) -> AsyncIterator[Jwks]:
    jwks = Jwks(f"http://127.0.0.1:{port}/", every=every, not_sooner=not_sooner)
    task = asyncio.create_task(jwks.run())
    try:
        yield jwks
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_keys_are_fetched_at_once_and_hold_no_private_half() -> None:
    identity, key = Identity(), _key("a")
    identity.serve(key.as_dict(private=True))  # a mistake there must not become a secret here
    async with _serving(identity) as port, _running(port) as jwks:
        assert not jwks.ready
        assert jwks.get("a") is None
        await until(lambda: jwks.ready)
        found = jwks.get("a")
        assert found is not None
        assert found.as_dict(private=False)["x"] == key.as_dict(private=False)["x"]
        assert not found.is_private
        assert identity.paths == {"/identity/v1/jwks"}


async def test_identity_that_comes_later_is_found() -> None:
    async with _serving(Identity()) as port:
        pass
    async with _running(port) as jwks:
        await asyncio.sleep(0.3)
        assert not jwks.ready
        async with _serving(Identity(_key("a")), port):
            await until(lambda: jwks.ready)


async def test_an_unknown_kid_asks_soon_and_not_more_often_than_allowed() -> None:
    identity = Identity(_key("a"))
    async with _serving(identity) as port, _running(port, not_sooner=0.2) as jwks:
        await until(lambda: jwks.ready)
        identity.serve(_key("a"), _key("b"))
        await until(lambda: jwks.get("b"))
        asked, since = identity.asked, time.monotonic()
        while time.monotonic() - since < 1:
            jwks.get("nobody knows it")
            await asyncio.sleep(0)
        assert identity.asked - asked <= 6
        assert jwks.get("a") is not None


async def test_nothing_is_asked_while_all_is_known() -> None:
    identity = Identity(_key("a"))
    async with _serving(identity) as port, _running(port) as jwks:
        await until(lambda: jwks.ready)
        for _ in range(50):
            assert jwks.get("a")
            await asyncio.sleep(0.005)
        assert identity.asked == 1


async def test_a_withdrawn_key_is_forgotten_at_the_next_fetch() -> None:
    identity = Identity(_key("a"), _key("b"))
    async with _serving(identity) as port, _running(port, every=0.05) as jwks:
        await until(lambda: jwks.ready)
        identity.serve(_key("b"))
        await until(lambda: jwks.get("a") is None)
        assert jwks.ready


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, ""),
        (404, "{}"),
        (302, ""),
        (200, ""),
        (200, "no json"),
        (200, "[]"),
        (200, "{}"),
        (200, '{"keys":[]}'),
        (200, '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"!"}]}'),
        (200, '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}]}'),
        (200, '{"keys":"x"}'),
        (200, TOO_LARGE),
        (200, '{"keys":' + "[" * 30_000 + "]" * 30_000 + "}"),
    ],
)
async def test_while_identity_is_away_or_talks_nonsense_the_last_known_keys_serve(status: int, body: str) -> None:
    identity = Identity(_key("a"))
    async with _serving(identity) as port, _running(port, not_sooner=0.02) as jwks:
        await until(lambda: jwks.ready)
        identity.status, identity.body = status, body
        jwks.get("b")
        await until(lambda: identity.asked >= 2)
        jwks.get("b")
        await until(lambda: identity.asked >= 3)
        assert jwks.get("b") is None
        assert jwks.ready
        assert jwks.get("a")
        identity.status = 200
        identity.serve(_key("b"))
        await until(lambda: jwks.get("b"))


async def test_keys_of_other_kinds_are_passed_over() -> None:
    other = ECKey.generate_key("P-256", {"kid": "ec"})
    secret = {"kty": "oct", "kid": "secret", "k": "AAAA"}
    identity = Identity(other, secret, OKPKey.generate_key("Ed448", {"kid": "448"}), _key("a"))
    async with _serving(identity) as port, _running(port) as jwks:
        await until(lambda: jwks.ready)
        assert jwks.get("a")
        assert not any(jwks.get(kid) for kid in ("ec", "secret", "448", ""))
