from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.app import CurrentActor, Session, problems
from libs.common.auth import AUTHENTICATED, PUBLIC
from libs.common.db import PLATFORM
from libs.common.errors import NotFound, Unauthenticated
from libs.common.tokens import Actor
from services.identity import web
from services.identity.doors import Doors
from services.identity.sessions import rules
from services.identity.sessions.rules import AccessBarred, NoAccessHere, TenantClosed
from services.identity.sessions.schemas import ChoiceOut, OpenIn, SessionOut, SessionsOut, SignedInOut, SignInIn
from services.identity.sessions.sign_in import CredentialExpired, SignInRefused, sign_in
from services.identity.sessions.tables import CookieSession
from services.identity.throttling.rules import TooManyTries
from services.identity.web import SESSION, CrossSite, TheBrowser, TheDoors, TheSecret, cookie

_BARRED = (AccessBarred, NoAccessHere, TenantClosed, CrossSite)


@post(
    "/sessions",
    permission=PUBLIC,
    guards=[web.require_own_page],
    summary="Sign in; sets the session cookie",
    responses=problems(SignInRefused, *_BARRED, CredentialExpired, NotFound, TooManyTries),
)
async def create_session(
    doors: TheDoors, browser: TheBrowser, secret: TheSecret, data: JSONBody[SignInIn]
) -> Response[SignedInOut]:
    entry = await sign_in(doors, browser, slug=data.slug, login=data.login, password=data.password, secret=secret)
    out = await _signed_in(doors, entry.session, entry.tenant.slug if entry.tenant else None)
    return Response(out, status_code=201, cookies=web.signed_in(entry.secret, browser, doors.settings))


@get("/sessions/current", permission=PUBLIC, summary="Who is signed in here", responses=problems(Unauthenticated))
async def read_current(doors: TheDoors, secret: TheSecret) -> SignedInOut:
    async with doors.database.session(PLATFORM) as session:
        one = await rules.require_session(session, doors.settings, secret)
    return await _signed_in(doors, one, None)


@delete(
    "/sessions/current",
    permission=PUBLIC,
    guards=[web.require_csrf_header],
    summary="Sign out of all tenants",
    responses=problems(CrossSite),
)
async def end_current(doors: TheDoors, secret: TheSecret) -> Response[None]:
    await rules.sign_out(doors, secret)
    return Response(None, status_code=204, cookies=[cookie(SESSION, "", max_age=0)])


@post(
    "/sessions/current/tenants",
    permission=PUBLIC,
    guards=[web.require_csrf_header],
    status_code=200,
    summary="Open a tenant, or switch to it",
    responses=problems(Unauthenticated, *_BARRED),
)
async def open_tenant(doors: TheDoors, secret: TheSecret, data: JSONBody[OpenIn]) -> ChoiceOut:
    tenant = await rules.switch_tenant(doors, secret, data.slug)
    return ChoiceOut(tenant.slug, tenant.display_name, opened=True)


@delete(
    "/sessions/current/tenants/{slug:str}",
    permission=PUBLIC,
    guards=[web.require_csrf_header],
    summary="Leave a tenant; the others stay open",
    responses=problems(Unauthenticated, CrossSite, NotFound),
)
async def leave_tenant(doors: TheDoors, secret: TheSecret, slug: FromPath[str]) -> None:
    await rules.leave_tenant(doors, secret, slug)


@get("/sessions", permission=AUTHENTICATED, summary="One's own sessions")
async def list_sessions(session: Session, actor: CurrentActor) -> SessionsOut:
    found = await rules.list_sessions(session, person_id=actor.person_id, member_id=actor.id)
    return SessionsOut([_out(one, actor.session_id) for one in found])


@delete(
    "/sessions/{session_id:uuid}",
    permission=AUTHENTICATED,
    summary="End one of one's own sessions",
    responses=problems(NotFound),
)
async def end_session(session: Session, actor: CurrentActor, session_id: FromPath[UUID]) -> None:
    await _end(session, actor, session_id)


@delete("/sessions", permission=AUTHENTICATED, summary="End all of one's own sessions but this one")
async def end_other_sessions(session: Session, actor: CurrentActor) -> None:
    await _end(session, actor, None)


router = Router(
    "/identity/v1",
    route_handlers=[
        create_session,
        read_current,
        end_current,
        open_tenant,
        leave_tenant,
        list_sessions,
        end_session,
        end_other_sessions,
    ],
    dependencies=web.dependencies(),
    tags=["Sessions"],
)


async def _end(session: AsyncSession, actor: Actor, session_id: UUID | None) -> None:
    current = UUID(actor.session_id)
    await rules.end_own(session, person_id=actor.person_id, member_id=actor.id, current=current, session_id=session_id)


async def _signed_in(doors: Doors, one: CookieSession, slug: str | None) -> SignedInOut:
    found = await rules.choices_of(doors, one)
    tenants = [ChoiceOut(choice.slug, choice.name, choice.opened) for choice in found]
    return SignedInOut(one.id, one.must_change, slug, tenants)


def _out(one: CookieSession, current: str) -> SessionOut:
    return SessionOut(one.id, one.signed_in_at, one.seen_at, one.ends_at, one.agent, str(one.id) == current)
