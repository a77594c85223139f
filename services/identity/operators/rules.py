"""Operators: made on the command line with a one-time password and a TOTP secret, and never signed in without both
(design section 5). What they may do stands under /operator/ in each service.
"""

import secrets
import time
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common import revocation, totp
from libs.common.changes import note, send
from libs.common.db import PLATFORM, now
from libs.common.errors import Conflict, Unauthenticated
from libs.common.passwords import check_password
from libs.common.text import canonical_address
from libs.common.tokens import Actor
from services.identity.doors import Doors
from services.identity.operators.tables import Operator, OperatorSession
from services.identity.sessions.candidates import address_key
from services.identity.sessions.rules import digest_of
from services.identity.sessions.sign_in import SignInRefused
from services.identity.throttling import rules as throttling
from services.identity.throttling.rules import Browser
from services.identity.tokens.rules import AccessToken

SESSION_LASTS = timedelta(hours=8)
_log = structlog.get_logger()


class OperatorMustChangePassword(Conflict):
    title = "Choose a password of your own: send it as new_password"

    @classmethod
    def code(cls) -> str:
        return "must_change_password"


class OperatorKnown(Conflict):
    title = "There is an operator with this address"


class NewOperator(msgspec.Struct, frozen=True):
    """Shown once, on the terminal of who made it."""

    id: UUID
    password: str
    totp_secret: str


async def create_operator(doors: Doors, address: str) -> NewOperator:
    """Raises AddressMalformed, OperatorKnown."""
    key = canonical_address(address)
    password, secret = secrets.token_urlsafe(15), totp.new_secret()
    password_hash = await doors.passwords.hash(password)
    async with doors.database.session(PLATFORM) as session:
        if await session.scalar(select(Operator.id).where(Operator.address_key == key)) is not None:
            raise OperatorKnown
        operator = Operator(address=address.strip(), address_key=key, password_hash=password_hash)
        operator.must_change, operator.totp_step, operator.totp_secret = True, 0, b""
        session.add(operator)
        await session.flush()
        operator.totp_secret = doors.secrets.seal(secret.encode(), _place(operator))
        note(session, Actor.system(PLATFORM), operator, "identity.operator.created")
        return NewOperator(operator.id, password, secret)


async def sign_in(
    doors: Doors, browser: Browser, *, address: str, password: str, code: str, new_password: str | None
) -> tuple[AccessToken, str]:
    """An access token, and a secret with which to get more for SESSION_LASTS. Raises SignInRefused, TooManyTries,
    OperatorMustChangePassword, PasswordRefused.
    """
    account = throttling.digest("operator", address_key(address))
    async with doors.database.session(PLATFORM) as session:
        limits = await throttling.limits_of_sign_in(session, account, browser)
        await throttling.admit(session, limits)
        operator = await session.scalar(select(Operator).where(Operator.address_key == address_key(address)))
    right = await doors.passwords.verify(operator.password_hash if operator else None, password)
    step = _accepted_step(doors, operator, code)
    if operator is None or not right or step is None:
        _log.info("operator_sign_in_refused", operator_id=str(operator.id) if operator else None)
        raise SignInRefused
    if operator.must_change and new_password is None:
        raise OperatorMustChangePassword
    if new_password is not None:
        check_password(new_password, about=(operator.address,))
        if new_password == password:
            raise OperatorMustChangePassword
    fresh = await doors.passwords.hash(new_password) if new_password is not None else operator.password_hash
    async with doors.database.session(PLATFORM) as session:
        await throttling.forgive(session, limits)
        await throttling.remember_device(session, account, browser)
        await _use_step(session, operator, step, fresh)
        secret = secrets.token_urlsafe(32)
        one = OperatorSession(operator_id=operator.id, secret_digest=digest_of(secret), signed_in_at=now())
        one.ends_at = now() + SESSION_LASTS
        session.add(one)
        await session.flush()
        actor = _actor(one)
        note(session, actor, operator, "identity.operator.signed_in")
        return _mint(doors, actor), secret


async def more(doors: Doors, secret: str) -> AccessToken:
    """Raises Unauthenticated."""
    async with doors.database.session(PLATFORM) as session:
        one = await session.scalar(select(OperatorSession).where(OperatorSession.secret_digest == digest_of(secret)))
        if one is None or one.ends_at <= now():
            raise Unauthenticated
        return _mint(doors, _actor(one))


async def sign_out(doors: Doors, actor: Actor) -> None:
    async with doors.database.session(PLATFORM) as session:
        one = await session.get(OperatorSession, UUID(actor.session_id))
        if one is not None:
            await session.delete(one)
            send(session, one, "revoked.session", *revocation.session_ended(one.id), version=1)


def _accepted_step(doors: Doors, operator: Operator | None, code: str) -> int | None:
    if operator is None:
        totp.accepted_step(totp.new_secret(), code, last_step=0, now=time.time())
        return None
    secret = doors.secrets.open(operator.totp_secret, _place(operator)).decode()
    return totp.accepted_step(secret, code, last_step=operator.totp_step, now=time.time())


async def _use_step(session: AsyncSession, operator: Operator, step: int, password_hash: str) -> None:
    """Each code once, also of two at the same time."""
    query = (
        update(Operator)
        .where(
            Operator.id == operator.id,
            Operator.totp_step < step,
            Operator.password_hash == operator.password_hash,
        )
        .values(totp_step=step, password_hash=password_hash, must_change=False)
        .returning(Operator.id)
    )
    if await session.scalar(query) is None:
        raise SignInRefused


def _mint(doors: Doors, actor: Actor) -> AccessToken:
    token, expires = doors.tokens.mint(actor)
    return AccessToken(token, expires - int(now().timestamp()))


def _actor(one: OperatorSession) -> Actor:
    return Actor(
        kind="operator",
        id=one.operator_id,
        session_id=str(one.id),
        amr=("pwd", "otp"),
        auth_time=int(one.signed_in_at.timestamp()),
        expires_at=one.ends_at.timestamp(),
    )


def _place(operator: Operator) -> str:
    return f"operators/{operator.id}/totp"
