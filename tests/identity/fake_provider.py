"""A provider that does everything right, until a test tells it to do one thing wrong. It speaks over a real socket."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import RSAKey

CLIENT, SECRET = "control-centre/acme", "a secret/with+odd signs"

type Claims = dict[str, Any]


class FakeProvider:
    """authorize() is the browser's visit; the rest is asked over HTTP. What a test changes is an attribute."""

    def __init__(self) -> None:
        self.issuer = ""
        self.key: Any = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.published: list[Any] = [self.key]
        self.said: Claims = {}  # of the discovery document, beside what is right
        self.header: Claims = {}
        self.change: Callable[[Claims], object] = lambda _: None
        self.token: Callable[[str], str] = lambda token: token
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}  # instead of the right ones, by path
        self.slow = ""
        self.userinfo: Claims | None = None
        self.requests: list[str] = []
        self._codes: dict[str, tuple[Claims, str, str]] = {}

    def authorize(self, url: str, **claims: Any) -> str:
        """The query of the way back, for who signs in there with these claims."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self._codes)}"
        now = int(time.time())
        own = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], "sub": "4711"}
        self._codes[code] = ({**own, **claims}, asked["code_challenge"], asked["redirect_uri"])
        return urlencode({"code": code, "state": asked["state"], "iss": self.issuer})

    def sign(self, claims: Claims, **header: Any) -> str:
        head = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT", **self.header, **header}
        head = {name: value for name, value in head.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        return jws.serialize_compact(head, json.dumps(claims), self.key, registry=registry)

    def logout_token(self, **claims: Any) -> str:
        now = int(time.time())
        event: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
        own = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": "1", "events": event}
        return self.sign({k: v for k, v in {**own, **claims}.items() if v is not None}, typ="logout+jwt")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        path = line.split(" ")[1]
        self.requests.append(path)
        if path == self.slow:
            await asyncio.sleep(30)
        status, more, content = self.answers.get(path) or self._answer(path, headers, body)
        found = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\nConnection: close\r\n{found}\r\n".encode()
        )
        writer.write(content)
        writer.close()

    def _answer(self, path: str, headers: dict[str, str], body: str) -> tuple[int, dict[str, str], bytes]:
        match path:
            case "/.well-known/openid-configuration":
                return _json(self._description())
            case "/keys":
                return _json(
                    {"keys": [one if isinstance(one, dict) else one.as_dict(private=False) for one in self.published]}
                )
            case "/me" if self.userinfo is not None:
                return _json(self.userinfo)
            case "/token":
                return self._tokens(headers, {name: values[0] for name, values in parse_qs(body).items()})
        return 404, {}, b""

    def _description(self) -> Claims:
        right = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/me" if self.userinfo is not None else None,
            "end_session_endpoint": f"{self.issuer}/end",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "authorization_response_iss_parameter_supported": True,
        }
        return {name: value for name, value in {**right, **self.said}.items() if value is not None}

    def _tokens(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        basic = "Basic " + base64.b64encode(b"control-centre%2Facme:a%20secret%2Fwith%2Bodd%20signs").decode()
        if headers.get("authorization") != basic:
            return _json({"error": "invalid_client"}, 401)
        claims, challenge, redirect = self._codes.pop(form["code"], ({}, "", ""))
        verified = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        )
        if not claims or verified != challenge or redirect != form["redirect_uri"]:
            return _json({"error": "invalid_grant"}, 400)
        self.change(claims)
        return _json({"access_token": "at", "token_type": "Bearer", "id_token": self.token(self.sign(claims))})


def _json(content: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(content).encode()


@asynccontextmanager
async def running() -> AsyncIterator[FakeProvider]:
    provider = FakeProvider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.close()
