"""A code becomes claims: at the token endpoint, and where the ID token says too little at the user info endpoint."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from libs.common.http_client import OutgoingError
from services.identity.connections.attempts import nonce_of, verifier_of
from services.identity.connections.discovery import Provider, Unreadable, reach_of, read_json
from services.identity.connections.id_tokens import Claims, Pinned, UnknownKey, check_id_token
from services.identity.connections.problems import AnswerNotValid, ProviderRefused
from services.identity.connections.rules import found_provider, mapping_of, redirect_uri, refresh_keys, secret_of
from services.identity.connections.tables import Connection
from services.identity.doors import Doors


class Proof(msgspec.Struct, frozen=True):
    """What the provider vouches for, checked. id_token: as it came, for signing out there."""

    claims: Claims
    id_token: str


class _Tokens(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str
    id_token: str | None = None


async def exchange(doors: Doors, connection: Connection, slug: str, code: str, state: str, cookie: str) -> Proof:
    """Raises ProviderRefused or AnswerNotValid with the reason."""
    provider = found_provider(connection)
    tokens = await _ask_tokens(doors, connection, provider, slug, code, verifier_of(state, cookie))
    if tokens.id_token is None:
        raise AnswerNotValid(reason="no_id_token")
    token, nonce = tokens.id_token, nonce_of(state, cookie)

    def check(pinned: Pinned) -> Claims:
        return check_id_token(token, pinned, nonce=nonce, access_token=tokens.access_token)

    claims = await with_keys(doors, connection, check)
    if provider.userinfo_endpoint and _misses(claims, connection):
        claims = await _ask_more(doors.outgoing, provider.userinfo_endpoint, tokens.access_token, claims)
    return Proof(claims, token)


async def with_keys[T](doors: Doors, connection: Connection, check: Callable[[Pinned], T]) -> T:
    """Once more with fresh keys where the first ones do not know the token's."""
    connection = await refresh_keys(doors, connection, wanted=False)
    try:
        return check(pinned_of(connection))
    except UnknownKey:
        return check(pinned_of(await refresh_keys(doors, connection, wanted=True)))


def pinned_of(connection: Connection) -> Pinned:
    keys = (connection.keys or {}).get("keys", [])
    return Pinned(connection.issuer, connection.client_id, found_provider(connection).algorithms, keys)


async def _ask_tokens(
    doors: Doors, connection: Connection, provider: Provider, slug: str, code: str, verifier: str
) -> _Tokens:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri(doors, slug, connection.id),
        "code_verifier": verifier,
    }
    auth: httpx.BasicAuth | None = None
    secret = secret_of(doors, connection)
    if "client_secret_basic" in provider.token_endpoint_auth_methods_supported:
        # RFC 6749 section 2.3.1: both are encoded as in a form first.
        auth = httpx.BasicAuth(quote(connection.client_id, safe=""), quote(secret, safe=""))
    else:
        form |= {"client_id": connection.client_id, "client_secret": secret}
    answer = await _asked(
        "token", lambda: doors.outgoing.post(provider.token_endpoint, data=form, auth=auth or httpx.USE_CLIENT_DEFAULT)
    )
    if answer.status_code != 200:
        raise ProviderRefused(**_refusal(answer))
    try:
        tokens = read_json(answer.content, _Tokens)
    except Unreadable as error:
        raise AnswerNotValid(reason="token_not_readable") from error
    if tokens.token_type.lower() != "bearer":
        raise AnswerNotValid(reason="token_kind")
    return tokens


def _refusal(answer: httpx.Response) -> dict[str, str]:
    """RFC 6749 section 5.2: a client that is not known is the admins' to mend, a code that is not good is nobody's."""
    try:
        said = str(read_json(answer.content, dict[str, Any])["error"])[:100]
    except (Unreadable, KeyError):
        said = ""
    reasons = {"invalid_client": "client", "unauthorized_client": "client", "invalid_grant": "code"}
    return {"reason": reasons.get(said, "client" if answer.status_code == 401 else "token"), "said": said}


async def _ask_more(client: httpx.AsyncClient, url: str, access_token: str, claims: Claims) -> Claims:
    """User info about the very same subject (OpenID Connect Core 1.0 section 5.3.2); what was signed wins."""
    answer = await _asked("userinfo", lambda: client.get(url, headers={"Authorization": f"Bearer {access_token}"}))
    if answer.status_code != 200:
        raise AnswerNotValid(reason="userinfo_missing")
    try:
        more = read_json(answer.content, dict[str, Any])
    except Unreadable as error:
        raise AnswerNotValid(reason="userinfo_not_readable") from error
    if more.get("sub") != claims["sub"]:
        raise AnswerNotValid(reason="userinfo_subject")
    return more | claims


async def _asked(what: str, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    try:
        return await ask()
    except OutgoingError as error:
        raise AnswerNotValid(reason=f"{what}_{reach_of(error)}") from error


def _misses(claims: Claims, connection: Connection) -> bool:
    mapping = mapping_of(connection)
    return any(name and name not in claims for name in (mapping.email, mapping.display_name, mapping.groups_claim))
