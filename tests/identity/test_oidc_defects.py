"""A provider, a way back or a browser with a single defect: each is refused with its own reason, and lets nobody in."""

import base64
import hashlib
import hmac
import html
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from httpx import AsyncClient
from joserfc import jws
from joserfc.jwk import RSAKey

from services.identity.pages.strings import STRINGS
from tests.identity.fake_provider import CLIENT, Claims, FakeProvider
from tests.identity.oidc import Connected, connected
from tests.identity.story import As, World

GOOD: dict[str, Any] = {"email": "bob@example.org", "email_verified": True, "name": "Bob"}

Defect = Callable[[FakeProvider], object]


def _claims(**changes: Any) -> Defect:
    """None takes a claim away."""

    def change(claims: Claims) -> None:
        claims.update(changes)
        for name, value in changes.items():
            if value is None:
                del claims[name]

    return lambda provider: setattr(provider, "change", change)


def _times(**offsets: float) -> Defect:
    return lambda provider: _claims(**{name: int(time.time() + by) for name, by in offsets.items()})(provider)


def _header(**header: Any) -> Defect:
    return lambda provider: setattr(provider, "header", header)


def _token(make: Callable[[str], str]) -> Defect:
    return lambda provider: setattr(provider, "token", make)


def _answer(path: str, status: int, body: bytes = b"", **headers: str) -> Defect:
    return lambda provider: provider.answers.update({path: (status, headers, body)})


def _under_public_key(provider: FakeProvider) -> None:
    """The old confusion: HS256 under the bytes of the public RSA key."""
    secret = provider.key.as_pem(private=False)

    def confused(token: str) -> str:
        signed = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{token.split('.')[1]}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    _token(confused)(provider)


def _resigned(token: str, algorithm: str, key: Any, **header: str) -> str:
    claims = jws.extract_compact(token.encode()).payload
    return jws.serialize_compact({"alg": algorithm, "kid": "one", **header}, claims, key, algorithms=[algorithm])


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _other_key(provider: FakeProvider) -> None:
    stranger = RSAKey.generate_key(2048)
    _token(lambda token: _resigned(token, "RS256", stranger))(provider)


def _userinfo(said: Claims) -> Defect:
    def change(provider: FakeProvider) -> None:
        provider.answers["/me"] = (200, {}, json.dumps(said).encode())
        _claims(email=None)(provider)

    return change


PROVIDERS: dict[str, Defect] = {
    "answer_not_valid.issuer": _claims(iss="https://evil.example"),
    "answer_not_valid.audience": _claims(aud="somebody else"),
    "answer_not_valid.azp_missing": _claims(aud=[CLIENT, "somebody else"]),
    "answer_not_valid.azp": _claims(azp="somebody else"),
    "answer_not_valid.nonce": _claims(nonce="of another sign-in"),
    "answer_not_valid.nonce_missing": _claims(nonce=None),
    "answer_not_valid.exp_missing": _claims(exp=None),
    "answer_not_valid.iat_missing": _claims(iat=None),
    "answer_not_valid.times": _claims(exp="tomorrow"),
    "answer_not_valid.expired": _times(exp=-90),
    "answer_not_valid.stale": _times(iat=-700),
    "answer_not_valid.future": _times(iat=90),
    "answer_not_valid.not_yet": _times(nbf=90),
    "answer_not_valid.subject_missing": _claims(sub=None),
    "answer_not_valid.subject": _claims(sub="a" * 256),
    "answer_not_valid.at_hash": _claims(at_hash="x"),
    "answer_not_valid.unsigned": _token(lambda token: f"{_part({'alg': 'none'})}.{token.split('.')[1]}."),
    "answer_not_valid.algorithm": _under_public_key,
    "answer_not_valid.unknown_key": _header(kid="two"),
    "answer_not_valid.signature": _other_key,
    "answer_not_valid.token_type": _header(typ="at+jwt"),
    "answer_not_valid.critical_header": _token(
        lambda token: f"{_part({'alg': 'RS256', 'kid': 'one', 'crit': ['exp']})}.{token.split('.', 1)[1]}"
    ),
    "answer_not_valid.encrypted": _token(lambda _: "a.b.c.d.e"),
    "answer_not_valid.not_a_token": _token(lambda _: "nonsense"),
    "answer_not_valid.no_id_token": _answer("/token", 200, b'{"access_token":"a","token_type":"Bearer"}'),
    "answer_not_valid.token_kind": _answer("/token", 200, b'{"access_token":"a","token_type":"mac","id_token":"a"}'),
    "answer_not_valid.token_not_readable": _answer("/token", 200, b"<html>"),
    "answer_not_valid.token_not_allowed": _answer("/token", 307, Location="http://169.254.169.254/"),
    "answer_not_valid.token_too_large": _answer("/token", 200, b"x" * (1024 * 1024 + 1)),
    "answer_not_valid.token_too_slow": lambda provider: setattr(provider, "slow", "/token"),
    "provider_refused.client": _answer("/token", 401, b'{"error":"invalid_client"}'),
    "provider_refused.code": _answer("/token", 400, b'{"error":"invalid_grant"}'),
    "provider_refused.token": _answer("/token", 500),
    "answer_not_valid.userinfo_subject": _userinfo({"sub": "another", "email": "bob@example.org"}),
    "answer_not_valid.userinfo_not_readable": lambda provider: (
        _userinfo({})(provider),
        _answer("/me", 200, b"<")(provider),
    ),
    "answer_not_valid.userinfo_missing": lambda provider: (_userinfo({})(provider), _answer("/me", 403)(provider)),
}


@pytest.mark.parametrize("reason", PROVIDERS)
async def test_a_provider_with_one_defect_lets_nobody_in(world: World, as_: As, reason: str) -> None:
    """R-14: each defect has its own reason, in the page, the log and what admins see."""
    async with connected(world, as_) as acme:
        acme.provider.userinfo = {"sub": "4711"}
        assert (await acme.admin.post(f"{acme.path}/discover")).status_code == 200
        await world.invite(world.member(acme.tenant, email="bob@example.org"))
        PROVIDERS[reason](acme.provider)
        browser = world.browser()
        await _refused(acme, browser, await acme.go(browser), reason)


async def test_a_claim_with_a_nul_is_no_token(world: World, as_: As) -> None:
    """No 5xx from any input: the provider's id of its session is kept, and no database takes a NUL."""
    async with connected(world, as_) as acme:
        await world.invite(world.member(acme.tenant, email="bob@example.org"))
        _claims(sid="a\0b")(acme.provider)
        browser = world.browser()
        await _refused(acme, browser, await acme.go(browser), "answer_not_valid.not_a_token")


async def test_the_same_provider_without_a_defect_lets_her_in(world: World, as_: As) -> None:
    async with connected(world, as_) as acme:
        await world.invite(world.member(acme.tenant, email="bob@example.org"))
        browser = world.browser()
        answer = await acme.visit(browser, **GOOD)
        assert answer.status_code == 303, answer.text
        assert (await world.token(browser, acme.tenant)).status_code == 200
        assert (await acme.last())["outcome"] == "done"


async def _refused(acme: Connected, browser: AsyncClient, url: str, reason: str) -> None:
    query = acme.provider.authorize(url, **GOOD)
    answer = await browser.get(f"{acme.callback}?{query}")
    assert answer.status_code == 403, answer.text
    assert (await acme.last())["outcome"] == reason
    assert 'role="alert"' in answer.text
    assert (await acme.world.token(browser, acme.tenant)).status_code == 401


Way = Callable[[dict[str, str]], object]
WAYS: dict[str, Way] = {
    "state_missing": lambda query: query.pop("state"),
    "state": lambda query: query.update(state="not ours"),
    "issuer": lambda query: query.update(iss="https://evil.example"),
    "issuer_missing": lambda query: query.pop("iss"),
    "code_missing": lambda query: query.pop("code"),
}


@pytest.mark.parametrize("reason", WAYS)
async def test_a_way_back_with_one_defect_leads_nowhere(world: World, as_: As, reason: str) -> None:
    async with connected(world, as_) as acme:
        await world.invite(world.member(acme.tenant, email="bob@example.org"))
        browser = world.browser()
        said = acme.provider.authorize(await acme.go(browser), **GOOD)
        query = dict(part.split("=", 1) for part in said.split("&"))
        WAYS[reason](query)
        answer = await browser.get(acme.callback + "?" + "&".join(f"{name}={value}" for name, value in query.items()))
        assert answer.status_code == 403
        assert acme.provider.requests.count("/token") == 0
        _says(answer.text, "sign_in_not_valid", reason)


def _says(text: str, code: str, reason: str) -> None:
    assert html.unescape(text).count(STRINGS[f"error.{code}.{reason}"][0]) == 1, text
