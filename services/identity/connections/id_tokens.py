"""Whether an ID token or a logout token is proof (OpenID Connect Core 1.0 section 3.1.3.7, Back-Channel Logout 1.0).

Everything is pinned: the issuer, the client, the algorithms and the keys of this very connection. What the token says
of itself decides nothing but which of the pinned keys is tried.
"""

import base64
import hashlib
import time
import warnings
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning

from services.identity.connections.discovery import ALGORITHMS, Unreadable, key_of, read_json
from services.identity.connections.problems import AnswerNotValid

TOLERANCE = 60
"""Seconds by which clocks may differ."""

FRESH = 600
"""Seconds since an ID token was issued: it has just been fetched, for a sign-in begun ten minutes ago at most."""

LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
_registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
_registry.max_payload_length = 256 * 1024
_registry.max_header_length = 4096

# Which algorithms go with which kind of key: an RSA key never checks anything but RSA.
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

type Claims = dict[str, Any]


class Pinned(msgspec.Struct, frozen=True):
    """What a connection's tokens must be signed with, come from and be meant for."""

    issuer: str
    client_id: str
    algorithms: list[str]
    keys: list[dict[str, Any]]


class UnknownKey(AnswerNotValid):
    """The provider may have changed its keys: fetch them, and look once more."""

    title = AnswerNotValid.title

    @classmethod
    def code(cls) -> str:
        return AnswerNotValid.code()


def check_id_token(token: str, pinned: Pinned, *, nonce: str, access_token: str | None = None) -> Claims:
    """Its claims. Raises AnswerNotValid with the reason; UnknownKey where other keys may help."""
    algorithm, claims = _verified(token, pinned, types=("jwt",))
    _require_from_and_for(claims, pinned)
    now = time.time()
    _require_times(claims, now)
    if now > _number(claims, "exp") + TOLERANCE:
        raise AnswerNotValid(reason="expired")
    if now > _number(claims, "iat") + FRESH:
        raise AnswerNotValid(reason="stale")
    given = claims.get("nonce")
    if given != nonce:
        raise AnswerNotValid(reason="nonce" if given else "nonce_missing")
    if access_token is not None and "at_hash" in claims and claims["at_hash"] != _half_hash(access_token, algorithm):
        raise AnswerNotValid(reason="at_hash")
    _require_subject(claims)
    return claims


def check_logout_token(token: str, pinned: Pinned) -> Claims:
    """Back-Channel Logout 1.0 section 2.6. Raises AnswerNotValid."""
    _, claims = _verified(token, pinned, types=("jwt", "logout+jwt"))
    _require_from_and_for(claims, pinned)
    now = time.time()
    _require_times(claims, now, expires=False)
    if "exp" in claims and now > _number(claims, "exp") + TOLERANCE:
        raise AnswerNotValid(reason="expired")
    if now > _number(claims, "iat") + 2 * TOLERANCE:
        raise AnswerNotValid(reason="stale")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT), dict):
        raise AnswerNotValid(reason="not_a_logout")
    if "nonce" in claims:
        raise AnswerNotValid(reason="logout_nonce")
    if not isinstance(claims.get("jti"), str):
        raise AnswerNotValid(reason="logout_jti")
    if not any(isinstance(claims.get(name), str) and claims[name] for name in ("sub", "sid")):
        raise AnswerNotValid(reason="subject_missing")
    return claims


def _verified(token: str, pinned: Pinned, *, types: tuple[str, ...]) -> tuple[str, Claims]:
    try:
        raw = token.encode("ascii")
        if raw.count(b".") == 4:
            raise AnswerNotValid(reason="encrypted")
        unverified = jws.extract_compact(raw, registry=_registry)
        header = unverified.headers()
    except (JoseError, ValueError, RecursionError) as error:
        raise AnswerNotValid(reason="not_a_token") from error
    algorithm = header.get("alg")
    if algorithm == "none":
        raise AnswerNotValid(reason="unsigned")
    if not isinstance(algorithm, str) or algorithm not in pinned.algorithms:
        raise AnswerNotValid(reason="algorithm", said=str(algorithm)[:40])
    if "crit" in header:
        raise AnswerNotValid(reason="critical_header")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in types:
        raise AnswerNotValid(reason="token_type")
    for key in _candidates(header, algorithm, pinned):
        try:
            with warnings.catch_warnings():  # of EdDSA, which RFC 9864 calls Ed25519 and providers do not
                warnings.simplefilter("ignore", SecurityWarning)
                good = jws.validate_compact(unverified, key, registry=_registry)
        except (JoseError, ValueError, TypeError):
            continue
        if good:
            return algorithm, _claims(unverified.payload)
    raise AnswerNotValid(reason="signature")


def _candidates(header: dict[str, Any], algorithm: str, pinned: Pinned) -> list[Any]:
    """The key that the token names; where it names none, the provider must have just one that fits."""
    kid, kind = header.get("kid"), _KINDS[algorithm[:2]]
    fit = [one for one in pinned.keys if one.get("kty") == kind and one.get("alg", algorithm) == algorithm]
    named = [one for one in fit if kid is not None and one.get("kid") == kid] if kid is not None else fit
    if not named:
        raise UnknownKey(reason="unknown_key")
    if len(named) > 1:
        raise AnswerNotValid(reason="which_key")
    return [key for one in named if (key := key_of(one)) is not None]


def _claims(payload: bytes) -> Claims:
    try:
        return read_json(payload, dict[str, Any])
    except Unreadable as error:
        raise AnswerNotValid(reason="not_a_token") from error


def _require_from_and_for(claims: Claims, pinned: Pinned) -> None:
    if claims.get("iss") != pinned.issuer:
        raise AnswerNotValid(reason="issuer", said=str(claims.get("iss"))[:200])
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if pinned.client_id not in audiences:
        raise AnswerNotValid(reason="audience")
    if len(audiences) > 1 and "azp" not in claims:
        raise AnswerNotValid(reason="azp_missing")
    if "azp" in claims and claims["azp"] != pinned.client_id:
        raise AnswerNotValid(reason="azp")


def _require_times(claims: Claims, now: float, *, expires: bool = True) -> None:
    for name in ("exp", "iat") if expires else ("iat",):
        if name not in claims:
            raise AnswerNotValid(reason=f"{name}_missing")
    if _number(claims, "iat") > now + TOLERANCE:
        raise AnswerNotValid(reason="future")
    if "nbf" in claims and _number(claims, "nbf") > now + TOLERANCE:
        raise AnswerNotValid(reason="not_yet")


def _number(claims: Claims, name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AnswerNotValid(reason="times")
    return value


def _require_subject(claims: Claims) -> None:
    """At most 255 ASCII characters (OpenID Connect Core 1.0 section 2)."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise AnswerNotValid(reason="subject_missing")
    if len(subject) > 255 or not subject.isascii() or not subject.isprintable():
        raise AnswerNotValid(reason="subject")


def _half_hash(value: str, algorithm: str) -> str:
    """OpenID Connect Core 1.0 section 3.1.3.6; Ed25519 hashes with SHA-512."""
    name = {"256": "sha256", "384": "sha384"}.get(algorithm[2:], "sha512")
    digest = hashlib.new(name, value.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
