"""Access tokens (RFC 9068, Ed25519): identity mints them, every service turns them into an Actor without asking anyone.

A verified token is remembered by its digest until it expires: the signature check costs more than the database. What
may change earlier (a revoked session, a lost right, a withdrawn key) is asked on every request, in memory. Nothing here
speaks HTTP within a request; libs/common/jwks.py fetches the public keys in the background.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Protocol, Self, cast
from uuid import UUID

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from msgspec import Meta

from libs.common.errors import Unauthenticated, Unavailable
from libs.common.keys import KeyRing

LIFETIME = 300
"""Seconds. With the beat of design section 6 it bounds what a revocation that cannot be delivered leaves open."""
AUDIENCE, OPERATOR_AUDIENCE = "control-centre", "operator"

_TYPE, _ALGORITHM = "at+jwt", "Ed25519"  # the fully specified name of RFC 9864; EdDSA is not taken
_HEADER = frozenset({"alg", "typ", "kid"})  # exactly these: no jwk, jku, x5u, x5c, crit, b64
_LONGEST = 8192
_SKEW = 60  # seconds that another machine's clock may be ahead
_REMEMBERED = 10_000

Kind = Literal["member", "key", "operator", "system"]


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts, in which tenant, with which rights, until when (seconds since 1970)."""

    kind: Kind
    id: UUID
    """The member (for a key: whose key it is), or the operator."""
    tenant_id: UUID | None = None
    session_id: str = ""
    """For a key: the key's id."""
    person_id: UUID | None = None
    authorisation_version: int = 0
    holder: int = 0
    amr: tuple[str, ...] = ()
    auth_time: int = 0
    rights: frozenset[str] = frozenset()
    expires_at: float

    @classmethod
    def system(cls, tenant_id: UUID) -> Self:
        """The worker itself: clocks, sagas, answers to events. Never comes from a token."""
        return cls(kind="system", id=UUID(int=0), tenant_id=tenant_id, session_id="system", expires_at=float("inf"))


_Number = Annotated[int, Meta(ge=0, le=2**53)]
_Short = Annotated[str, Meta(min_length=1, max_length=200)]


class _Claims(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The claims, with their exact types; a missing or wrong one is refused. Further claims are ignored (additive)."""

    iss: str
    aud: str
    iat: _Number
    exp: _Number
    nbf: _Number = 0
    sub: UUID
    kind: Literal["member", "key", "operator"]
    sid: _Short
    tid: UUID | None = None
    pid: UUID | None = None
    av: _Number
    holder: _Number
    amr: tuple[str, ...]
    auth_time: _Number
    rights: frozenset[str]


class PublicKeys(Protocol):
    """Where verification keys come from: identity's own ring, or its JWKS."""

    @property
    def ready(self) -> bool: ...

    def get(self, kid: str) -> OKPKey | None: ...


class IssuerKeys:
    """identity's own signing keys; the source of its JWKS."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._imported: dict[str, OKPKey] = {}

    ready = True

    def newest(self) -> OKPKey:
        return self._import(*self._ring.newest())

    def get(self, kid: str) -> OKPKey | None:
        pem = self._ring.get(kid)
        return None if pem is None else self._import(kid, pem)

    def jwks(self) -> dict[str, Any]:
        """RFC 7517: public halves only."""
        keys = [self._import(kid, pem) for kid, pem in self._ring]
        return {"keys": [key.as_dict(private=False) for key in keys]}

    def _import(self, kid: str, pem: bytes) -> OKPKey:
        if kid not in self._imported:
            self._imported[kid] = OKPKey.import_key(pem, {"kid": kid, "use": "sig", "alg": _ALGORITHM})
        return self._imported[kid]


class TokenIssuer:
    """Mints access tokens. Only identity holds the keys for it."""

    def __init__(self, keys: IssuerKeys, issuer: str, *, clock: Callable[[], float] = time.time) -> None:
        self._keys, self._issuer, self._clock = keys, issuer, clock

    def mint(self, actor: Actor) -> tuple[str, int]:
        """The token and when it expires: in five minutes, earlier where the actor's own access ends earlier.

        Raises ValueError for an actor whose time is over, and for `system`, which never travels.
        """
        now = int(self._clock())
        expires = int(min(now + LIFETIME, actor.expires_at))
        if actor.kind == "system" or expires <= now or (actor.tenant_id is None) != (actor.kind == "operator"):
            raise ValueError("no token can be minted for this actor")
        claims = _Claims(
            iss=self._issuer,
            aud=_audience_of(actor.kind),
            iat=now,
            exp=expires,
            sub=actor.id,
            kind=actor.kind,
            sid=actor.session_id,
            tid=actor.tenant_id,
            pid=actor.person_id,
            av=actor.authorisation_version,
            holder=actor.holder,
            amr=actor.amr,
            auth_time=actor.auth_time,
            rights=actor.rights,
        )
        key = self._keys.newest()
        header = {"alg": _ALGORITHM, "typ": _TYPE, "kid": cast(str, key.kid)}
        token = jws.serialize_compact(header, msgspec.json.encode(claims), key, [_ALGORITHM])
        if len(token) > _LONGEST:
            raise ValueError("the rights do not fit into a token")
        return token, expires


class TokenVerifier:
    """Turns a bearer token into an actor.

    revoked is asked for every request; it raises Unavailable while it cannot say.
    """

    def __init__(
        self,
        keys: PublicKeys,
        issuer: str,
        revoked: Callable[[Actor], bool],
        *,
        remembered: int = _REMEMBERED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys, self._issuer, self._revoked = keys, issuer, revoked
        self._clock, self._limit = clock, remembered
        self._known: OrderedDict[bytes, tuple[Actor, str]] = OrderedDict()  # with the kid; least recently used first

    def actor(self, token: str, *, operator: bool = False) -> Actor:
        """Raises Unauthenticated; Unavailable while there are no keys yet or the revocations are not known.

        operator: what the route wants. An operator's token is good there and nowhere else, and nothing else is.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and (known[0].expires_at <= self._clock() or self._keys.get(known[1]) is None):
            del self._known[digest]
            known = None
        if known is None:
            known = self._verify(token)
            self._known[digest] = known
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(digest)
        actor = known[0]
        if (actor.kind == "operator") != operator or self._revoked(actor):
            raise Unauthenticated
        return actor

    def _verify(self, token: str) -> tuple[Actor, str]:
        if not self._keys.ready:
            raise Unavailable(retry_after=1)
        if len(token) > _LONGEST:
            raise Unauthenticated
        try:
            unverified = jws.extract_compact(token.encode("ascii"))
            kid = _kid(unverified.headers())
            key = self._keys.get(kid)
            if key is None or not jws.validate_compact(unverified, key, [_ALGORITHM]):
                raise Unauthenticated
            claims = msgspec.json.decode(unverified.payload, type=_Claims)
        except (JoseError, msgspec.DecodeError, ValueError, RecursionError) as error:
            raise Unauthenticated from error
        self._require_valid(claims)
        return _actor(claims), kid

    def _require_valid(self, claims: _Claims) -> None:
        now = self._clock()
        if not (
            claims.iss == self._issuer
            and claims.aud == _audience_of(claims.kind)
            and (claims.tid is None) == (claims.kind == "operator")
            and now < claims.exp <= claims.iat + LIFETIME
            and max(claims.iat, claims.nbf) <= now + _SKEW
        ):
            raise Unauthenticated


def _kid(header: Mapping[str, Any]) -> str:
    kid = header.get("kid")
    if header.keys() != _HEADER or header["typ"] != _TYPE or header["alg"] != _ALGORITHM or not isinstance(kid, str):
        raise Unauthenticated
    return kid


def _audience_of(kind: Kind) -> str:
    return OPERATOR_AUDIENCE if kind == "operator" else AUDIENCE


def _actor(claims: _Claims) -> Actor:
    return Actor(
        kind=claims.kind,
        id=claims.sub,
        tenant_id=claims.tid,
        session_id=claims.sid,
        person_id=claims.pid,
        authorisation_version=claims.av,
        holder=claims.holder,
        amr=claims.amr,
        auth_time=claims.auth_time,
        rights=claims.rights,
        expires_at=float(claims.exp),
    )
