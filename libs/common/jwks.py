"""identity's public keys, fetched in the background and kept: a request never waits for them.

Fetched at once, then every few minutes, and soon after a token names a kid that is not known (a rotation), though not
more often than every few seconds, whoever asks. While identity is away the last known keys go on serving.
"""

import asyncio
import contextlib
import time

import httpx
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

_EVERY = 180.0
_NOT_SOONER = 5.0
_FIRST_TRIES = 0.25
_LARGEST = 65_536
_log = structlog.get_logger()


class _Key(msgspec.Struct):
    """Of each key only what is public and ours; a key of another kind is skipped (RFC 7517 section 5)."""

    kty: str
    kid: str = ""
    crv: str = ""
    x: str = ""


class _KeySet(msgspec.Struct):
    keys: list[_Key]


class Jwks:
    """Run `run()` as a task of the process. `ready` once there was an answer; then tokens can be verified."""

    def __init__(self, identity_url: str, *, every: float = _EVERY, not_sooner: float = _NOT_SOONER) -> None:
        self._url = identity_url.rstrip("/") + "/identity/v1/jwks"
        self._every, self._not_sooner = every, not_sooner
        self._keys: dict[str, OKPKey] = {}
        self._wanted = asyncio.Event()
        self.fetched_at = 0.0

    @property
    def ready(self) -> bool:
        return bool(self._keys)

    def get(self, kid: str) -> OKPKey | None:
        """None asks for a refresh, too."""
        key = self._keys.get(kid)
        if key is None:
            self._wanted.set()
        return key

    async def run(self) -> None:
        """Until cancelled; no failure ends it."""
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            pause = _FIRST_TRIES
            while True:
                self._wanted.clear()
                try:
                    await self._fetch(client)
                except (
                    httpx.HTTPError,
                    httpx.InvalidURL,
                    msgspec.DecodeError,
                    JoseError,
                    ValueError,
                    RecursionError,
                ) as error:
                    _log.warning("jwks_not_fetched", error=type(error).__name__, known=len(self._keys))
                if not self.ready:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, 2.0)
                    continue
                await asyncio.sleep(self._not_sooner)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), self._every)

    async def _fetch(self, client: httpx.AsyncClient) -> None:
        async with client.stream("GET", self._url) as answer:
            answer.raise_for_status()
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST:
                    raise ValueError("the key set is too large")
        found = {key.kid: _imported(key) for key in msgspec.json.decode(body, type=_KeySet).keys if _ours(key)}
        if not found:
            raise ValueError("the key set holds no Ed25519 key")
        self._keys = found
        self.fetched_at = time.time()


def _ours(key: _Key) -> bool:
    return key.kty == "OKP" and key.crv == "Ed25519" and bool(key.kid)


def _imported(key: _Key) -> OKPKey:
    public: dict[str, str | list[str]] = {"kty": "OKP", "crv": "Ed25519", "x": key.x}
    return OKPKey.import_key(public, {"kid": key.kid, "use": "sig", "alg": "Ed25519"})
