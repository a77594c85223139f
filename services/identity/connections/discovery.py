"""What a provider says of itself (OpenID Connect Discovery 1.0), fetched once and pinned: a sign-in asks no discovery.

Keys are fetched with it and again when a token names one that is not known, or after a day. A key set that cannot be
had leaves the last one in force, so that a provider's bad hour is no outage here.
"""

import re
import warnings
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import msgspec
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from libs.common.http_client import AnswerTooLarge, NotAllowed, OutgoingError, TooSlow
from services.identity.connections.problems import ProviderUnfit

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures by a key of the provider's own that we take: never none, never one under the client's secret."""

KEYS_LAST = timedelta(hours=24)
KEYS_NOT_SOONER = timedelta(seconds=30)
"""Between two fetches for unknown keys: whoever sends odd tokens does not make us hammer the provider."""

SMALLEST_RSA = 2048

type PublicKey = RSAKey | ECKey | OKPKey


class Unreadable(Exception):
    """What a provider said is no JSON of the kind that was asked for."""


class Provider(msgspec.Struct, frozen=True):
    """The part of the discovery document that we use; other members are ignored."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    response_types_supported: list[str] = []
    code_challenge_methods_supported: list[str] | None = None
    id_token_signing_alg_values_supported: list[str] = []
    token_endpoint_auth_methods_supported: list[str] = msgspec.field(default_factory=lambda: ["client_secret_basic"])
    authorization_response_iss_parameter_supported: bool = False

    @property
    def algorithms(self) -> list[str]:
        """Both sides can; RS256 is what every provider has (OpenID Connect Core 1.0 section 3.1.3.7)."""
        return [one for one in self.id_token_signing_alg_values_supported if one in ALGORITHMS]


def read_json[T](raw: bytes, kind: type[T]) -> T:
    """Raises Unreadable, also for a NUL, which the database would not take."""
    try:
        found = msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unreadable(str(error)[:200]) from error
    if rb"\u0000" in raw:
        raise Unreadable("a NUL")
    return found


def provider_of(said: dict[str, Any]) -> Provider:
    """Of what was pinned."""
    return msgspec.convert(said, Provider)


def issuer_of(typed: str) -> str:
    """As admins copy it: the discovery address is taken for the issuer that it belongs to."""
    return typed.strip().removesuffix("/.well-known/openid-configuration")


async def discover(client: httpx.AsyncClient, issuer: str) -> Provider:
    """Raises ProviderUnfit with the reason."""
    raw = await fetch(client, issuer.removesuffix("/") + "/.well-known/openid-configuration", "discovery")
    try:
        found = read_json(raw, Provider)
    except Unreadable as error:
        raise ProviderUnfit(reason="not_a_description", field=str(error)) from error
    if found.issuer != issuer:
        raise ProviderUnfit(reason="issuer", said=found.issuer[:200], asked=issuer)
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"):
        address = getattr(found, name)
        if address is not None and not _may_be_asked(address, issuer):
            raise ProviderUnfit(reason="address", field=name)
    if "code" not in found.response_types_supported:
        raise ProviderUnfit(reason="no_code_flow")
    if found.code_challenge_methods_supported is not None and "S256" not in found.code_challenge_methods_supported:
        raise ProviderUnfit(reason="no_pkce")
    if not found.algorithms:
        raise ProviderUnfit(reason="algorithms")
    if not {"client_secret_basic", "client_secret_post"} & set(found.token_endpoint_auth_methods_supported):
        raise ProviderUnfit(reason="client_authentication")
    return found


async def fetch_keys(client: httpx.AsyncClient, provider: Provider) -> dict[str, Any]:
    """The key set as it was sent. Raises ProviderUnfit where it holds no key that can sign for us."""
    raw = await fetch(client, provider.jwks_uri, "keys")
    try:
        found = read_json(raw, dict[str, Any])
    except Unreadable as error:
        raise ProviderUnfit(reason="keys_not_readable") from error
    keys = found.get("keys")
    if not isinstance(keys, list) or not any(key_of(one) for one in keys):
        raise ProviderUnfit(reason="no_keys")
    return {"keys": [one for one in keys if key_of(one)]}


def key_of(said: Any) -> PublicKey | None:
    """A public key fit to sign: symmetric, short, private and otherwise odd ones are none."""
    if not isinstance(said, dict) or said.get("use", "sig") != "sig" or "d" in said or "k" in said:
        return None
    kinds: dict[Any, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    kind = kinds.get(said.get("kty"))
    public = {name: said[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in said}
    try:
        with warnings.catch_warnings():  # of short keys, which are refused two lines below
            warnings.simplefilter("ignore", SecurityWarning)
            key = cast(PublicKey, kind.import_key(public)) if kind else None
        if isinstance(key, RSAKey) and key.public_key.key_size < SMALLEST_RSA:
            return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key


async def fetch(client: httpx.AsyncClient, url: str, what: str, **options: Any) -> bytes:
    """A GET. Raises ProviderUnfit, whose reason says how `what` could not be had."""
    try:
        answer = await client.get(url, headers={"Accept": "application/json"}, **options)
    except OutgoingError as error:
        raise ProviderUnfit(reason=f"{what}_{reach_of(error)}") from error
    if answer.status_code != 200:
        raise ProviderUnfit(reason=f"{what}_missing", status=answer.status_code)
    return answer.content


def reach_of(error: OutgoingError) -> str:
    kinds: dict[type[OutgoingError], str] = {
        NotAllowed: "not_allowed",
        AnswerTooLarge: "too_large",
        TooSlow: "too_slow",
    }
    return kinds.get(type(error), "unreachable")


def _may_be_asked(address: str, issuer: str) -> bool:
    """https, as the issuer is; http only beside an issuer on http, which the client allows on loopback alone. As it
    stands in a header: urlsplit would overlook line breaks.
    """
    if not re.fullmatch("[!-~]+", address):
        return False
    try:
        parts, own = urlsplit(address), urlsplit(issuer)
    except ValueError:
        return False
    return bool(parts.hostname) and not parts.fragment and parts.scheme in ("https", own.scheme)
