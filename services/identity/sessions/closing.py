"""Ends of sessions. A membership's own end leaves the person's sign-in, and with it her other tenants, alone (R-10)."""

from uuid import UUID

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common import revocation
from libs.common.changes import send
from services.identity.platform import in_platform
from services.identity.sessions.tables import CookieSession, SessionMembership


async def close_member(session: AsyncSession, member_id: UUID) -> None:
    """Every sign-in loses this tenant; refresh families go with it. One that had nothing else is over: a membership's
    own credential opens no other. Tokens are the business of who raises av.
    """
    closed = select(SessionMembership.session_id).where(SessionMembership.member_id == member_id)
    sessions = (await session.scalars(closed)).all()
    if not sessions:
        return
    await session.execute(delete(SessionMembership).where(SessionMembership.member_id == member_id))
    left = exists().where(SessionMembership.session_id == CookieSession.id)
    nothing_else = (CookieSession.id.in_(sessions), CookieSession.person_id.is_(None), ~left)
    await session.execute(delete(CookieSession).where(*nothing_else))


async def end_session(session: AsyncSession, one: CookieSession) -> None:
    """It is over in all its tenants, and so are its tokens."""
    await session.delete(one)
    async with in_platform(session):
        send(session, one, "revoked.session", *revocation.session_ended(one.id), version=1)


async def end_sessions_of(session: AsyncSession, person_id: UUID, *, but: UUID | None = None) -> int:
    """How many ended. but: the one in which she asked for it."""
    query = select(CookieSession).where(CookieSession.person_id == person_id, CookieSession.id != but)
    found = (await session.scalars(query)).all()
    for one in found:
        await end_session(session, one)
    return len(found)
