from litestar import Response, Router, post
from litestar.params import JSONBody

from libs.common.app import problems
from libs.common.auth import PUBLIC
from libs.common.errors import Unauthenticated
from libs.common.links import LinkForAnother, LinkNotValid, LinkUnreadable, read_code
from libs.common.passwords import PasswordRefused
from services.identity import web
from services.identity.invitations import accepting
from services.identity.invitations.accepting import Accepted, AccountMismatch
from services.identity.invitations.rules import (
    AccessBlocked,
    InvitationAccepted,
    InvitationDeclined,
    InvitationExpired,
    InvitationReplaced,
    InvitationRevoked,
)
from services.identity.invitations.schemas import AcceptedOut, AcceptIn, CodeIn, LookOut
from services.identity.persons.rules import AlreadyMember, PersonKnown
from services.identity.sessions.rules import TenantClosed
from services.identity.web import CrossSite, TheBrowser, TheDoors, TheSecret

_LINK = (LinkUnreadable, LinkForAnother, LinkNotValid, CrossSite)
_ENDED = (InvitationExpired, InvitationReplaced, InvitationRevoked, InvitationDeclined, InvitationAccepted)


@post(
    "/look",
    permission=PUBLIC,
    guards=[web.require_own_page],
    status_code=200,
    summary="What an invitation link is about; changes nothing",
    responses=problems(*_LINK, *_ENDED, AccessBlocked),
)
async def look(doors: TheDoors, secret: TheSecret, data: JSONBody[CodeIn]) -> LookOut:
    seen = await accepting.look(doors, tenant_id=read_code(data.code).tenant_id, code=data.code, secret=secret)
    generation = seen.opened.generation
    return LookOut(seen.tenant.display_name, seen.tenant.slug, generation.address, generation.deadline, seen.turn)


@post(
    "/accept",
    permission=PUBLIC,
    guards=[web.require_csrf_header],
    status_code=200,
    summary="Accept: with a password as a new person, without as who is signed in",
    responses=problems(
        *_LINK,
        *_ENDED,
        AccessBlocked,
        AccountMismatch,
        PersonKnown,
        AlreadyMember,
        PasswordRefused,
        TenantClosed,
        Unauthenticated,
    ),
)
async def accept(
    doors: TheDoors, browser: TheBrowser, secret: TheSecret, data: JSONBody[AcceptIn]
) -> Response[AcceptedOut]:
    tenant_id = read_code(data.code).tenant_id
    if data.password is None:
        done = await accepting.accept_as_person(doors, tenant_id=tenant_id, code=data.code, secret=secret)
        return Response(_out(done), status_code=200)
    done = await accepting.accept_as_new(
        doors, browser, tenant_id=tenant_id, code=data.code, password=data.password, secret=secret
    )
    cookies = web.signed_in(done.entry.secret, browser, doors.settings)
    return Response(_out(done), status_code=200, cookies=cookies)


@post(
    "/decline",
    permission=PUBLIC,
    guards=[web.require_own_page],
    status_code=204,
    summary="Decline an invitation",
    responses=problems(*_LINK, *_ENDED),
)
async def decline(doors: TheDoors, data: JSONBody[CodeIn]) -> None:
    await accepting.decline(doors, tenant_id=read_code(data.code).tenant_id, code=data.code)


@post(
    "/renew",
    permission=PUBLIC,
    guards=[web.require_own_page],
    status_code=204,
    summary="Ask for a new link; the answer is always the same",
    responses=problems(*_LINK),
)
async def renew(doors: TheDoors, data: JSONBody[CodeIn]) -> None:
    await accepting.renew(doors, tenant_id=read_code(data.code).tenant_id, code=data.code)


router = Router(
    "/identity/v1/invitations",
    route_handlers=[look, accept, decline, renew],
    dependencies=web.dependencies(),
    tags=["Invitations"],
)


def _out(done: Accepted) -> AcceptedOut:
    return AcceptedOut(done.tenant.slug, done.waits)
