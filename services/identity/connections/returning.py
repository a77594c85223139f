"""The way back from a provider, whatever it was for; what came of it is kept for the tenant's admins."""

from uuid import UUID

import msgspec
import structlog

from libs.common.errors import AppError
from services.identity.connections import entering
from services.identity.connections.attempts import Answer, conclude, require_answered, take
from services.identity.connections.exchange import Proof, exchange
from services.identity.connections.problems import SignInNotValid, reason_of
from services.identity.connections.rules import found_provider, get_connection
from services.identity.connections.tables import Connection, ConnectionAttempt
from services.identity.doors import Doors
from services.identity.sessions.sign_in import Entry
from services.identity.tenants.tables import Tenant
from services.identity.throttling.rules import Browser

_log = structlog.get_logger()


class Returned(msgspec.Struct, frozen=True):
    """entry: of a sign-in only."""

    purpose: str
    entry: Entry | None = None


async def come_back(
    doors: Doors,
    browser: Browser,
    tenant: Tenant,
    connection_id: UUID,
    answer: Answer,
    cookie: str | None,
    secret: str | None,
) -> Returned:
    """Raises why she is not signed in; of a test nothing but that it was not begun here."""
    async with doors.database.session(tenant.id) as session:
        connection = await get_connection(session, connection_id)
        attempt = await take(session, connection, answer, cookie)
    try:
        proof = await _prove(doors, tenant, connection, attempt, answer, cookie or "")
        returned, details = await _use(doors, browser, connection, attempt, proof, secret)
    except AppError as error:
        ids = {"tenant_id": str(tenant.id), "connection_id": str(connection.id), "attempt_id": str(attempt.id)}
        _log.info("connection_refused", reason=reason_of(error), **ids)
        said = {"said": error.params["said"]} if error.params.get("said") else None
        await conclude(doors, attempt, reason_of(error), said)
        if attempt.purpose == "test":
            return Returned("test")
        raise
    await conclude(doors, attempt, "done", details)
    return returned


async def _prove(
    doors: Doors, tenant: Tenant, connection: Connection, attempt: ConnectionAttempt, answer: Answer, cookie: str
) -> Proof:
    if connection.state != "enabled" and attempt.purpose != "test":
        raise SignInNotValid(reason="disabled")
    code = require_answered(answer, connection, found_provider(connection))
    return await exchange(doors, connection, tenant.slug, code, answer.state, cookie)


async def _use(
    doors: Doors,
    browser: Browser,
    connection: Connection,
    attempt: ConnectionAttempt,
    proof: Proof,
    secret: str | None,
) -> tuple[Returned, dict[str, object] | None]:
    match attempt.purpose:
        case "test":
            mapped = entering.mapped_by(connection, proof)
            return Returned("test"), {"claims": proof.claims, "mapped": msgspec.to_builtins(mapped)}
        case "connect":
            await entering.connect(doors, connection, proof, attempt.member_id, secret)
            return Returned("connect"), None
    entry = await entering.enter(doors, browser, connection, proof, secret)
    return Returned("sign_in", entry), None
