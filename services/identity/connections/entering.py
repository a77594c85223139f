"""Whom a provider's proof lets in: a membership of the tenant that connected it, and nobody anywhere else.

A subject is known by its binding alone. Who has none is admitted, where the connection says so, by an address that the
provider has proven: by a pending invitation for it, or (automatic) as members decides. No person is read or made here.
"""

import asyncio
import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.bus import BROKER_ERRORS
from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import Unavailable
from libs.common.events.rpc import ADMIT, Admit, AdmitAnswer, Admitted, NoSeat, Refused
from libs.common.permissions import Role
from libs.common.text import canonical_address
from libs.common.tokens import Actor
from services.identity.connections.exchange import Proof
from services.identity.connections.mapping import Mapped, map_claims
from services.identity.connections.problems import NotAdmitted, SubjectTaken
from services.identity.connections.rules import get_connection, mapping_of
from services.identity.connections.syncing import sync_grants
from services.identity.connections.tables import Connection, ConnectionSession, ConnectionSubject
from services.identity.doors import Doors
from services.identity.invitations import rules as invitations
from services.identity.invitations.tables import Invitation
from services.identity.memberships import rules as memberships
from services.identity.memberships.tables import Membership
from services.identity.sessions.closing import end_session
from services.identity.sessions.rules import (
    digest_of,
    find_session,
    note_sign_in,
    require_tenant_open,
    require_usable,
)
from services.identity.sessions.sign_in import Entry
from services.identity.sessions.tables import CookieSession, SessionMembership
from services.identity.tenants.rules import get_tenant
from services.identity.throttling.rules import Browser

AMR = "sso"
"""What the session says of how she signed in; what the provider says of that proves nothing here."""

SETTLES = 50
"""Tenths of a second in which an admission must have come back from members as an open invitation."""

_log = structlog.get_logger()


async def enter(doors: Doors, browser: Browser, connection: Connection, proof: Proof, secret: str | None) -> Entry:
    """Sign in. Raises NotAdmitted, SubjectTaken, NoAccessHere, AccessBarred, TenantClosed, AccessBlocked, Unavailable,
    or why the invitation does not work any more.
    """
    mapped = mapped_by(connection, proof)
    entry = await _enter_bound(doors, browser, connection, proof, mapped, secret)
    if entry is not None:
        return entry
    if connection.admission == "off":
        raise NotAdmitted(reason="off")
    if mapped.email is None:
        raise NotAdmitted(reason=mapped.remarks[0])
    member = await _find_pending(doors, connection, mapped.email)
    if member is None:
        if connection.admission != "automatic":
            raise NotAdmitted(reason="revoked" if await _was_here(doors, connection, proof) else "not_invited")
        member = await _ask_members(doors, connection, mapped)
    accepted = await _accept(doors, connection, proof, mapped, member)
    entry = await _enter_bound(doors, browser, connection, proof, mapped, secret)
    if entry is None:
        raise NotAdmitted(reason="revoked" if accepted else "active")
    return entry


async def connect(
    doors: Doors, connection: Connection, proof: Proof, member_id: UUID | None, secret: str | None
) -> None:
    """Her own session, opened by the person's own credential, vouches for the membership; from now on both ways lead
    there. Raises NotAdmitted(session), SubjectTaken.
    """
    async with doors.database.session(connection.tenant_id) as session:
        one = await find_session(session, doors.settings, secret)
        opened = await session.get(SessionMembership, (one.id, connection.tenant_id)) if one else None
        if one is None or one.person_id is None or opened is None or opened.member_id != member_id:
            raise NotAdmitted(reason="session")
        membership = await memberships.lock_membership(session, connection.tenant_id, opened.member_id)
        if membership.person_id != one.person_id or (opened.epoch, opened.cut) != (membership.epoch, membership.cut):
            raise NotAdmitted(reason="session")
        await require_usable(session, await get_tenant(session, connection.tenant_id), membership)
        await _bind(session, connection, proof, membership)


def mapped_by(connection: Connection, proof: Proof) -> Mapped:
    return map_claims(proof.claims, mapping_of(connection), connection.mapping_rights)


class _Wanted(msgspec.Struct, frozen=True):
    """Whose invitation is to be accepted. generation: which, where members has named it."""

    member_id: UUID
    generation: int | None = None


async def _enter_bound(
    doors: Doors, browser: Browser, connection: Connection, proof: Proof, mapped: Mapped, secret: str | None
) -> Entry | None:
    """None where the subject is bound to nobody, or to a membership that has ended, or has another holder now."""
    async with doors.database.session(connection.tenant_id) as session:
        bound = await _binding(session, connection, proof)
        if bound is None:
            return None
        membership = await memberships.find_locked(session, bound.member_id)
        if membership is None or membership.state != "active" or membership.holder != bound.holder:
            return None
        bound.seen_at = now()
        return await _open(session, doors, browser, connection, proof, mapped, membership, secret)


async def _find_pending(doors: Doors, connection: Connection, email: str) -> _Wanted | None:
    """An open invitation of this tenant for this address."""
    async with doors.database.session(connection.tenant_id) as session:
        pending = await session.scalar(
            select(Invitation).where(
                Invitation.email_key == canonical_address(email),
                Invitation.state == "open",
                Invitation.deadline > now(),
            )
        )
        return _Wanted(pending.member_id, pending.generation) if pending else None


async def _was_here(doors: Doors, connection: Connection, proof: Proof) -> bool:
    async with doors.database.session(connection.tenant_id) as session:
        return await _binding(session, connection, proof) is not None


async def _ask_members(doors: Doors, connection: Connection, mapped: Mapped) -> _Wanted:
    """Between two transactions. Raises NotAdmitted; Unavailable where members does not answer."""
    key = hashlib.sha256(connection.id.bytes + mapped.subject.encode()).hexdigest()
    asked = Admit(connection.tenant_id, key, mapped.email or "", mapped.display_name, mapped.locale)
    if doors.bus is None:
        raise Unavailable(retry_after=2)
    try:
        raw = await doors.bus.request(ADMIT, msgspec.json.encode(asked), within=5)
    except BROKER_ERRORS as error:
        raise Unavailable(retry_after=2) from error
    answer: AdmitAnswer = msgspec.json.decode(raw, type=AdmitAnswer.__value__)
    match answer:
        case Admitted(member_id=member_id, generation=generation):
            return await _settled(doors, connection.tenant_id, _Wanted(member_id, generation))
        case NoSeat():
            tenant_id = connection.tenant_id
            async with doors.database.session(tenant_id) as session:
                fresh = await get_connection(session, connection.id)
                note(session, Actor.system(tenant_id), fresh, "identity.connection.no_seat")
                tenant = await get_tenant(session, tenant_id)
            raise NotAdmitted(reason="no_seat", tenant=tenant.display_name)
        case Refused(state=state):
            raise NotAdmitted(reason=_STATES.get(state, "refused"))


async def _settled(doors: Doors, tenant_id: UUID, wanted: _Wanted) -> _Wanted:
    """members' event has to come in first; Unavailable where it takes too long: she tries again."""
    for _ in range(SETTLES):
        async with doors.database.session(tenant_id) as session:
            membership = await session.get(Membership, (tenant_id, wanted.member_id))
        if membership is not None and membership.generation >= (wanted.generation or 0):
            return wanted
        await asyncio.sleep(0.1)
    raise Unavailable(retry_after=2)


async def _accept(doors: Doors, connection: Connection, proof: Proof, mapped: Mapped, wanted: _Wanted) -> bool:
    """Accept the invitation with its grants (R-14) and bind the subject: before her entry date, too, and then she waits
    to come in. False: the membership is active already, and nothing has happened.
    """
    async with doors.database.session(connection.tenant_id) as session:
        membership = await memberships.lock_membership(session, connection.tenant_id, wanted.member_id)
        if membership.state == "active":
            return False
        require_tenant_open(await get_tenant(session, connection.tenant_id))
        opened = await invitations.find_current(session, membership)
        if opened is None or opened.invitation.generation != wanted.generation:
            raise NotAdmitted(reason="not_invited")
        if Role.OWNER in membership.preset_roles:
            raise NotAdmitted(reason="owner")
        address = opened.generation.address
        if address and canonical_address(address) != canonical_address(mapped.email or ""):
            raise NotAdmitted(reason="not_invited")
        invitations.require_open(opened)
        actor = memberships.herself(membership)
        await invitations.decide(session, actor, opened, "accepted")
        digest = hashlib.sha256(mapped.subject.encode()).hexdigest()
        await memberships.activate(
            session, actor, membership, way="sso", held_by=f"connection:{connection.id}:{digest}"
        )
        await _bind(session, connection, proof, membership)
        return True


async def _bind(session: AsyncSession, connection: Connection, proof: Proof, membership: Membership) -> None:
    """One subject is one member. Raises SubjectTaken while it is another one who is active."""
    bound = await _binding(session, connection, proof)
    if bound is None:
        bound = ConnectionSubject(tenant_id=connection.tenant_id, connection_id=connection.id)
        bound.subject = proof.claims["sub"]
        session.add(bound)
    elif bound.member_id != membership.id:
        other = await session.get(Membership, (connection.tenant_id, bound.member_id))
        if other is not None and other.state == "active" and other.holder == bound.holder:
            raise SubjectTaken
    bound.member_id, bound.holder, bound.seen_at = membership.id, membership.holder, now()
    await session.flush()
    note(
        session,
        memberships.herself(membership),
        membership,
        "identity.membership.bound",
        connection_id=connection.id,
        subject=bound.subject,
    )


async def _binding(session: AsyncSession, connection: Connection, proof: Proof) -> ConnectionSubject | None:
    query = select(ConnectionSubject).where(
        ConnectionSubject.connection_id == connection.id, ConnectionSubject.subject == proof.claims["sub"]
    )
    return await session.scalar(query)


async def _open(
    session: AsyncSession,
    doors: Doors,
    browser: Browser,
    connection: Connection,
    proof: Proof,
    mapped: Mapped,
    membership: Membership,
    secret: str | None,
) -> Entry:
    """A new session of its own, which opens this tenant and no other; the one that this browser had has ended."""
    tenant = await get_tenant(session, membership.tenant_id)
    await require_usable(session, tenant, membership)
    await sync_grants(session, connection, membership, mapped)
    if mapped.roles is None and (claim := mapping_of(connection).groups_claim):
        _log.warning("sso_groups_missing", connection_id=str(connection.id), member_id=str(membership.id))
        about = {"connection_id": connection.id, "claim": claim}
        note(session, memberships.herself(membership), membership, "identity.membership.groups_missing", **about)
    old = await find_session(session, doors.settings, secret)
    if old is not None:
        await end_session(session, old)
    fresh = secrets.token_urlsafe(32)
    one = CookieSession(person_id=None, secret_digest=digest_of(fresh), amr=[AMR], agent=browser.agent[:200])
    one.signed_in_at = one.seen_at = now()
    one.ends_at = now() + timedelta(hours=doors.settings.session_hours)
    one.must_change = False
    session.add(one)
    await session.flush()
    values = {"member_id": membership.id, "epoch": membership.epoch, "cut": membership.cut}
    session.add(SessionMembership(session_id=one.id, tenant_id=membership.tenant_id, **values))
    provider_session = proof.claims.get("sid")
    session.add(
        ConnectionSession(
            tenant_id=membership.tenant_id,
            id=one.id,
            connection_id=connection.id,
            subject=proof.claims["sub"],
            provider_session=provider_session if isinstance(provider_session, str) else None,
            id_token=doors.secrets.seal(proof.id_token.encode(), id_token_place(one.id)),
        )
    )
    await session.flush()
    note_sign_in(session, membership)
    return Entry(fresh, one, tenant)


def id_token_place(session_id: UUID) -> str:
    return f"connection_sessions/{session_id}"


_STATES = {
    "active": "active",
    "revoked": "revoked",
    "blocked": "blocked",
    "owner_preset": "owner",
    "malformed": "email_malformed",
    "marked_deleted": "deleted",
    "erasing": "deleted",
    "anonymised": "deleted",
    "erased": "deleted",
}
