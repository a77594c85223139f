"""Access tokens: what identity mints every service takes, and nothing else. The attack corpus of ASVS 9.1 is here."""

import base64
import hmac
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OKPKey, RSAKey

from libs.common.errors import Unauthenticated, Unavailable
from libs.common.keys import TOKEN, KeyRing, ensure_keys, rotate
from libs.common.tokens import Actor, IssuerKeys, TokenIssuer, TokenVerifier

ISSUER = "https://control-centre.test"
ACME = uuid.UUID(int=1)
KEY = OKPKey.generate_key("Ed25519", {"kid": "k1"})
HEADER = {"alg": "Ed25519", "typ": "at+jwt", "kid": "k1"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "control-centre",
    "sub": str(uuid.UUID(int=7)),
    "kind": "member",
    "sid": "s1",
    "tid": str(ACME),
    "pid": str(uuid.UUID(int=9)),
    "av": 3,
    "holder": 2,
    "amr": ["pwd", "otp"],
    "auth_time": 1_700_000_000,
    "rights": ["members:read"],
}


class Keys:
    """What a JWKS is to a verifier."""

    def __init__(self, *keys: OKPKey, ready: bool = True) -> None:
        self.ready, self.keys = ready, {str(key.kid): key for key in keys}

    def get(self, kid: str) -> OKPKey | None:
        return self.keys.get(kid)


def _claims(now: float | None = None, **changed: Any) -> dict[str, Any]:
    now = int(time.time() if now is None else now)
    claims = {**CLAIMS, "iat": now, "exp": now + 300, **changed}
    return {name: value for name, value in claims.items() if value is not ...}


def _sign(claims: dict[str, Any], header: dict[str, Any] | None = None, key: Any = KEY) -> str:
    header = HEADER if header is None else header
    return jws.serialize_compact(header, json.dumps(claims), key, [header["alg"]])


def _b64(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _sign_raw(header: bytes, payload: bytes, key: OKPKey = KEY) -> str:
    """For headers that no library would write."""
    signed = f"{_b64(header)}.{_b64(payload)}"
    return f"{signed}.{_b64(key.get_op_key('sign').sign(signed.encode()))}"  # type: ignore[union-attr]


def _verifier(
    keys: Keys | None = None, revoked: Callable[[Actor], bool] = lambda _: False, **options: Any
) -> TokenVerifier:
    return TokenVerifier(keys or Keys(KEY), ISSUER, revoked, **options)


def _actor(**changed: Any) -> Actor:
    fields: dict[str, Any] = {
        "kind": "member",
        "id": uuid.uuid4(),
        "tenant_id": ACME,
        "session_id": "s1",
        "person_id": uuid.uuid4(),
        "authorisation_version": 4,
        "holder": 2,
        "amr": ("pwd",),
        "auth_time": 1_700_000_000,
        "rights": frozenset({"members:read", "members:write"}),
        "expires_at": float("inf"),
    }
    return Actor(**{**fields, **changed})


@pytest.fixture
def issuer_keys(tmp_path: Path) -> IssuerKeys:
    ensure_keys(tmp_path, [TOKEN])
    return IssuerKeys(KeyRing(tmp_path, TOKEN))


@pytest.mark.parametrize(
    "actor",
    [
        _actor(),
        _actor(person_id=None, amr=(), rights=frozenset()),
        _actor(kind="key"),
        _actor(kind="operator", tenant_id=None, person_id=None),
    ],
)
def test_what_is_minted_is_verified_as_the_same_actor(issuer_keys: IssuerKeys, actor: Actor) -> None:
    token, expires = TokenIssuer(issuer_keys, ISSUER).mint(actor)
    seen = TokenVerifier(issuer_keys, ISSUER, lambda _: False).actor(token, operator=actor.kind == "operator")
    assert seen == msgspec.structs.replace(actor, expires_at=float(expires))
    assert 298 <= expires - time.time() <= 300


def test_a_token_ends_with_the_access_that_it_stands_for(issuer_keys: IssuerKeys) -> None:
    issuer = TokenIssuer(issuer_keys, ISSUER, clock=lambda: 1000.9)
    assert issuer.mint(_actor(expires_at=1060.5))[1] == 1060
    for wrong in (
        _actor(expires_at=1000.0),
        Actor.system(ACME),
        _actor(tenant_id=None),
        _actor(kind="operator"),
        _actor(rights=frozenset(f"rights:{number:0100}" for number in range(100))),
    ):
        with pytest.raises(ValueError, match="token"):
            issuer.mint(wrong)


def test_the_key_set_shows_public_halves_only(issuer_keys: IssuerKeys) -> None:
    (key,) = issuer_keys.jwks()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "Ed25519", "sig")


def test_a_rotation_changes_the_signing_key_and_fails_nobody(tmp_path: Path) -> None:
    old = datetime.now(UTC) - timedelta(days=90)
    ensure_keys(tmp_path, [TOKEN])
    (first,) = (tmp_path / TOKEN).iterdir()
    first.rename(first.with_name(old.strftime("%Y%m%d-%H%M%S-000")))
    now = [time.time()]
    ring = KeyRing(tmp_path, TOKEN, clock=lambda: now[0])
    keys = IssuerKeys(ring)
    issuer, verifier = TokenIssuer(keys, ISSUER), TokenVerifier(keys, ISSUER, lambda _: False)
    before = issuer.mint(_actor())[0]
    new = rotate(tmp_path, TOKEN)
    ring._looked -= 2
    assert len(keys.jwks()["keys"]) == 2
    assert jws.extract_compact(issuer.mint(_actor())[0].encode()).headers()["kid"] != new
    now[0] += 601
    after = issuer.mint(_actor())[0]
    assert jws.extract_compact(after.encode()).headers()["kid"] == new
    assert verifier.actor(before).kind == verifier.actor(after).kind == "member"


def test_the_corpus_starts_from_a_token_that_is_taken() -> None:
    """Otherwise every refusal below would prove nothing."""
    actor = _verifier().actor(_sign(_claims()))
    assert (actor.id, actor.tenant_id, actor.person_id) == (uuid.UUID(int=7), ACME, uuid.UUID(int=9))
    assert (actor.authorisation_version, actor.holder, actor.amr) == (3, 2, ("pwd", "otp"))
    assert _verifier().actor(_sign_raw(json.dumps(HEADER).encode(), json.dumps(_claims()).encode()))


_PUBLIC_PEM = KEY.as_pem(private=False)
_OTHER = OKPKey.generate_key("Ed25519", {"kid": "k1"})
_ED448 = OKPKey.generate_key("Ed448", {"kid": "k1"})
_RSA = RSAKey.generate_key(2048, {"kid": "k1"})


def _unsigned(alg: str) -> str:
    return f"{_b64({**HEADER, 'alg': alg})}.{_b64(_claims())}."


def _hs256(secret: bytes) -> str:
    """By hand: joserfc refuses to use a public key as a secret."""
    signed = f"{_b64({**HEADER, 'alg': 'HS256'})}.{_b64(_claims())}"
    return f"{signed}.{_b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _with_header(**changed: Any) -> str:
    header = {name: value for name, value in {**HEADER, **changed}.items() if value is not ...}
    return _sign_raw(json.dumps(header).encode(), json.dumps(_claims()).encode())


def _embedded() -> str:
    own = OKPKey.generate_key("Ed25519", {"kid": "k1"})
    header = {**HEADER, "jwk": own.as_dict(private=False)}
    return _sign_raw(json.dumps(header).encode(), json.dumps(_claims()).encode(), own)


def _without(claim: str) -> str:
    return _sign({name: value for name, value in _claims().items() if name != claim})


ATTACKS: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "dots": lambda: "..",
    "alg none": lambda: _unsigned("none"),
    "alg None": lambda: _unsigned("None"),
    "alg NONE": lambda: _unsigned("nOnE"),
    "signature cut off": lambda: _sign(_claims()).rpartition(".")[0] + ".",
    "HS256 with the public key as PEM": lambda: _hs256(_PUBLIC_PEM),
    "HS256 with the public key as bytes": lambda: _hs256(
        base64.urlsafe_b64decode(str(KEY.as_dict(private=False)["x"]) + "=")
    ),
    "HS256 with the public key as DER": lambda: _hs256(
        serialization.load_pem_public_key(_PUBLIC_PEM).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ),
    "RS256 under our kid": lambda: _sign(_claims(), {**HEADER, "alg": "RS256"}, _RSA),
    "Ed448 under our kid": lambda: _sign(_claims(), {**HEADER, "alg": "Ed448"}, _ED448),
    "EdDSA, the name that leaves the curve open": lambda: _with_header(alg="EdDSA"),
    "alg missing": lambda: _with_header(alg=...),
    "alg a list": lambda: _with_header(alg=["Ed25519"]),
    "another's key under our kid": lambda: _sign(_claims(), key=_OTHER),
    "unknown kid": lambda: _with_header(kid="k2"),
    "kid missing": lambda: _with_header(kid=...),
    "kid null": lambda: _with_header(kid=None),
    "kid a number": lambda: _with_header(kid=1),
    "kid a path": lambda: _with_header(kid="../../dev/null"),
    "an ID token": lambda: _with_header(typ="JWT"),
    "typ missing": lambda: _with_header(typ=...),
    "a logout token": lambda: _with_header(typ="logout+jwt"),
    "typ in another case": lambda: _with_header(typ="AT+JWT"),
    "embedded jwk": _embedded,
    "jku": lambda: _with_header(jku="https://evil.example/jwks"),
    "x5u": lambda: _with_header(x5u="https://evil.example/cert"),
    "x5c": lambda: _with_header(x5c=["AAAA"]),
    "crit": lambda: _with_header(crit=["exp"]),
    "b64 false": lambda: _with_header(b64=False, crit=["b64"]),
    "zip": lambda: _with_header(zip="DEF"),
    "an unknown header": lambda: _with_header(hello="there"),
    "header no object": lambda: _sign_raw(b"[]", json.dumps(_claims()).encode()),
    "header nested deeply": lambda: _sign_raw(b'{"alg":' + b"[" * 200 + b"]" * 200 + b"}", b"{}"),
    "header null": lambda: _sign_raw(b"null", b"{}"),
    "header not UTF-8": lambda: _sign_raw(b'{"alg":"\xff"}', b"{}"),
    "payload no object": lambda: _sign_raw(json.dumps(HEADER).encode(), b"[1]"),
    "payload no JSON": lambda: _sign_raw(json.dumps(HEADER).encode(), b"hello"),
    "payload nested deeply": lambda: _sign_raw(
        json.dumps(HEADER).encode(), b'{"x":' + b"[" * 2500 + b"]" * 2500 + b"}"
    ),
    "encrypted instead of signed": lambda: "a.b.c.d.e",
    "two tokens": lambda: f"{_sign(_claims())} {_sign(_claims())}",
    "line break behind": lambda: _sign(_claims()) + "\n",
    "oversized": lambda: _sign(_claims(padding="x" * 8192)),
    "a million dots": lambda: "." * 1_000_000,
    "not ASCII": lambda: "é.é.é",
    "surrogates": lambda: "\ud800.a.b",
    "expired": lambda: _sign(_claims(time.time() - 301)),
    "expires now": lambda: _sign(_claims(exp=int(time.time()))),
    "issued in the future": lambda: _sign(_claims(time.time() + 90)),
    "not yet valid": lambda: _sign(_claims(nbf=int(time.time()) + 90)),
    "valid for too long": lambda: _sign(_claims(exp=int(time.time()) + 86_400)),
    "exp as text": lambda: _sign(_claims(exp=str(int(time.time()) + 300))),
    "exp true": lambda: _sign(_claims(exp=True)),
    "exp negative": lambda: _sign(_claims(exp=-1)),
    "exp infinite": lambda: _sign_raw(json.dumps(HEADER).encode(), json.dumps(_claims(exp=float("inf"))).encode()),
    "exp huge": lambda: _sign(_claims(exp=10**400)),
    "issued at the end of time": lambda: _sign(_claims(exp=2**53, iat=2**53)),
    "another issuer": lambda: _sign(_claims(iss="https://evil.example")),
    "issuer with a slash": lambda: _sign(_claims(iss=ISSUER + "/")),
    "another audience": lambda: _sign(_claims(aud="another-product")),
    "a list of audiences": lambda: _sign(_claims(aud=["control-centre", "another"])),
    "audience of operators": lambda: _sign(_claims(aud="operator")),
    "operator with the members' audience": lambda: _sign(_claims(kind="operator", tid=...)),
    "operator with a tenant": lambda: _sign(_claims(kind="operator", aud="operator")),
    "a member without a tenant": lambda: _sign(_claims(tid=...)),
    "a member with tenant null": lambda: _sign(_claims(tid=None)),
    "kind system": lambda: _sign(_claims(kind="system")),
    "kind unknown": lambda: _sign(_claims(kind="root")),
    "sub no id": lambda: _sign(_claims(sub="admin")),
    "sub a number": lambda: _sign(_claims(sub=7)),
    "tenant no id": lambda: _sign(_claims(tid="acme")),
    "sid empty": lambda: _sign(_claims(sid="")),
    "sid long": lambda: _sign(_claims(sid="x" * 201)),
    "av negative": lambda: _sign(_claims(av=-1)),
    "av as text": lambda: _sign(_claims(av="3")),
    "rights as text": lambda: _sign(_claims(rights="members:read")),
    "rights of numbers": lambda: _sign(_claims(rights=[1])),
    "rights null": lambda: _sign(_claims(rights=None)),
    **{f"{claim} missing": partial(_without, claim) for claim in _claims() if claim not in ("pid", "tid")},
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda name: name.replace(" ", "_"))
def test_attack_is_refused(attack: str) -> None:
    for operator in (False, True):
        with pytest.raises(Unauthenticated):
            _verifier().actor(ATTACKS[attack](), operator=operator)


@given(st.text(max_size=300) | st.binary(max_size=300).map(_b64))
def test_whatever_is_sent_is_refused_and_never_an_error(token: str) -> None:
    with pytest.raises(Unauthenticated):
        _verifier().actor(token)


@given(st.data())
def test_no_flipped_bit_is_taken(data: st.DataObject) -> None:
    header, payload, signature = (bytearray(base64.urlsafe_b64decode(p + "==")) for p in _sign(_claims()).split("."))
    part = data.draw(st.sampled_from([header, payload, signature]))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Unauthenticated):
        _verifier().actor(".".join(_b64(bytes(p)) for p in (header, payload, signature)))


def test_operators_tokens_are_good_where_operators_are_and_nowhere_else() -> None:
    verifier = _verifier()
    member = _sign(_claims())
    operator = _sign(_claims(kind="operator", aud="operator", tid=..., pid=...))
    for _ in range(2):  # also when remembered
        assert verifier.actor(member).kind == "member"
        assert verifier.actor(operator, operator=True).kind == "operator"
        for token, wanted in ((member, True), (operator, False)):
            with pytest.raises(Unauthenticated):
                verifier.actor(token, operator=wanted)


def test_another_machines_clock_may_be_a_minute_ahead_and_expiry_is_exact() -> None:
    now = [time.time()]
    verifier = _verifier(clock=lambda: now[0])
    token = _sign(_claims(now[0] + 58))
    assert verifier.actor(token)
    now[0] += 357
    assert verifier.actor(token)
    now[0] += 2
    with pytest.raises(Unauthenticated):
        verifier.actor(token)


def test_revocation_is_asked_every_time_remembered_or_not() -> None:
    revoked: set[str] = set()
    asked = []

    def is_revoked(actor: Actor) -> bool:
        asked.append(actor)
        return actor.session_id in revoked

    verifier, token = _verifier(revoked=is_revoked), _sign(_claims())
    verifier.actor(token)
    verifier.actor(token)
    revoked.add("s1")
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            verifier.actor(token)
    assert len(asked) == 4


def test_the_signature_is_checked_once_and_again_after_it_was_forgotten() -> None:
    keys = Keys(KEY)
    verifier = _verifier(keys, remembered=3)
    tokens = [_sign(_claims(sid=f"s{number}")) for number in range(5)]
    for token in tokens[:3]:
        verifier.actor(token)
    verifier.actor(tokens[0])  # used again: the least recently used goes first
    verifier.actor(tokens[3])
    assert len(verifier._known) == 3
    known = {actor.session_id for actor, _ in verifier._known.values()}
    assert known == {"s2", "s0", "s3"}
    assert verifier.actor(tokens[1]).session_id == "s1"


def test_a_withdrawn_key_ends_remembered_tokens_too() -> None:
    keys = Keys(KEY)
    verifier, token = _verifier(keys), _sign(_claims())
    verifier.actor(token)
    keys.keys.clear()
    with pytest.raises(Unauthenticated):
        verifier.actor(token)
    assert not verifier._known


def test_without_keys_nobody_is_refused_for_good() -> None:
    with pytest.raises(Unavailable) as caught:
        _verifier(Keys(ready=False)).actor(_sign(_claims()))
    assert caught.value.params["retry_after"] == 1


def test_while_revocations_are_not_known_a_bad_token_is_still_a_bad_token() -> None:
    def cold(_: Actor) -> bool:
        raise Unavailable(retry_after=1)

    with pytest.raises(Unavailable):
        _verifier(revoked=cold).actor(_sign(_claims()))
    with pytest.raises(Unauthenticated):
        _verifier(revoked=cold).actor("nonsense")
