"""The way to a provider and back (RFC 6749 section 4.1, RFC 7636, RFC 9207): begun by a browser, ended by that browser,
once, within ten minutes.

The row holds digests only. Nonce and code verifier are derived from the browser's cookie and the state, so that
neither who reads the table nor who reads the address of the way back can end what another browser began.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from services.identity.connections.discovery import Provider
from services.identity.connections.problems import ProviderRefused, SignInNotValid
from services.identity.connections.rules import found_provider, get_connection, redirect_uri
from services.identity.connections.tables import Connection, ConnectionAttempt
from services.identity.doors import Doors
from services.identity.tenants.tables import Tenant
from services.identity.throttling import rules as throttling
from services.identity.throttling.rules import Browser, Limit

LASTS = timedelta(minutes=10)
KEPT = timedelta(days=1)

Purpose = Literal["sign_in", "test", "connect"]


class Begun(msgspec.Struct, frozen=True):
    """url: the provider's. name and cookie: what this browser must bring back. Each attempt has a name of its own, so
    that two tabs do not end each other's.
    """

    url: str
    name: str
    cookie: str


class Answer(msgspec.Struct, frozen=True):
    """The query of the way back, as the provider's redirect wrote it."""

    state: str = ""
    code: str = ""
    iss: str = ""
    error: str = ""
    error_description: str = ""


async def begin(
    doors: Doors, browser: Browser, tenant: Tenant, connection_id: UUID, purpose: Purpose, member_id: UUID | None = None
) -> Begun:
    """Raises NotFound, NotDiscovered, TooManyTries, SignInNotValid(disabled)."""
    async with doors.database.session(tenant.id) as session:
        await throttling.admit(session, [_limit(browser)])
        connection = await get_connection(session, connection_id)
        provider = found_provider(connection)
        if connection.state != "enabled" and purpose != "test":
            raise SignInNotValid(reason="disabled")
        state, cookie = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
        old = (ConnectionAttempt.connection_id == connection.id, ConnectionAttempt.created_at < now() - KEPT)
        await session.execute(delete(ConnectionAttempt).where(*old))
        session.add(
            ConnectionAttempt(
                tenant_id=tenant.id,
                connection_id=connection.id,
                state_digest=_digest(state),
                browser_digest=_digest(cookie),
                purpose=purpose,
                member_id=member_id,
                deadline=now() + LASTS,
            )
        )
        return Begun(_authorisation(doors, tenant, connection, provider, state, cookie), cookie_name(state), cookie)


async def take(session: AsyncSession, connection: Connection, answer: Answer, cookie: str | None) -> ConnectionAttempt:
    """Use the attempt up, whatever comes of it. Raises SignInNotValid.

    A cookie that is missing or another's uses nothing up: a stranger who has seen the address cannot end the sign-in.
    """
    if not answer.state:
        raise SignInNotValid(reason="state_missing")
    query = select(ConnectionAttempt).where(ConnectionAttempt.state_digest == _digest(answer.state))
    attempt = await session.scalar(query)
    if attempt is None:
        raise SignInNotValid(reason="state")
    if attempt.connection_id != connection.id:
        raise SignInNotValid(reason="connection")
    if not cookie or not hmac.compare_digest(attempt.browser_digest, _digest(cookie)):
        raise SignInNotValid(reason="browser" if cookie else "no_cookie")
    first = (ConnectionAttempt.id == attempt.id, ConnectionAttempt.used_at.is_(None))
    used = update(ConnectionAttempt).where(*first).values(used_at=now()).returning(ConnectionAttempt.id)
    if await session.scalar(used) is None:
        raise SignInNotValid(reason="used")
    if attempt.deadline <= now():
        raise SignInNotValid(reason="late")
    return attempt


def require_answered(answer: Answer, connection: Connection, provider: Provider) -> str:
    """The code. Raises ProviderRefused or SignInNotValid: from another issuer not even an error is read."""
    if answer.iss and answer.iss != connection.issuer:
        raise SignInNotValid(reason="issuer")
    if provider.authorization_response_iss_parameter_supported and not answer.iss:
        raise SignInNotValid(reason="issuer_missing")
    if answer.error:
        denied = answer.error == "access_denied"
        raise ProviderRefused(reason="denied" if denied else "error", said=answer.error[:100])
    if not answer.code:
        raise SignInNotValid(reason="code_missing")
    return answer.code


async def conclude(
    doors: Doors, attempt: ConnectionAttempt, outcome: str, details: dict[str, Any] | None = None
) -> None:
    """For the tenant's admins: what came of it."""
    async with doors.database.session(attempt.tenant_id) as session:
        row = await session.get(ConnectionAttempt, (attempt.tenant_id, attempt.id))
        if row is not None:
            row.outcome, row.details = outcome, details


def cookie_name(state: str) -> str:
    return f"__Host-connection-{_digest(state).hex()[:16]}"


def nonce_of(state: str, cookie: str) -> str:
    return _derived(cookie, "nonce", state)


def verifier_of(state: str, cookie: str) -> str:
    """43 characters of RFC 7636's alphabet."""
    return _derived(cookie, "verifier", state)


def _authorisation(
    doors: Doors, tenant: Tenant, connection: Connection, provider: Provider, state: str, cookie: str
) -> str:
    challenge = hashlib.sha256(verifier_of(state, cookie).encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": connection.client_id,
        "redirect_uri": redirect_uri(doors, tenant.slug, connection.id),
        "scope": " ".join(connection.scopes),
        "state": state,
        "nonce": nonce_of(state, cookie),
        "code_challenge": _text(challenge),
        "code_challenge_method": "S256",
    }
    joint = "&" if "?" in provider.authorization_endpoint else "?"
    return f"{provider.authorization_endpoint}{joint}{urlencode(asked)}"


def _limit(browser: Browser) -> Limit:
    """No password is guessed here; it only keeps one network from filling the table."""
    network = throttling.network_of(browser.ip)
    return Limit(throttling.digest("connections", network), 300, 60, whose=False)


def _derived(cookie: str, what: str, state: str) -> str:
    return _text(hmac.new(cookie.encode(), f"{what}\0{state}".encode(), hashlib.sha256).digest())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
