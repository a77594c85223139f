"""The pages behind an invitation's link (R-05): opening it sets a cookie and leads to a clean address, looking changes
nothing, and only a button that a human presses does.
"""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Struct

from libs.common.auth import PUBLIC
from libs.common.errors import Gone, Malformed
from libs.common.links import read_code
from libs.common.text import masked_address
from services.identity import web
from services.identity.connections.rules import ways_to_accept
from services.identity.invitations import accepting
from services.identity.invitations.accepting import Accepted
from services.identity.pages.views import View, read_form, view_of
from services.identity.sessions import rules as sessions
from services.identity.sessions.schemas import Password
from services.identity.sessions.sign_in import sign_in
from services.identity.web import SESSION, TheBrowser, TheDoors, TheSecret, cookie

LINK = "__Host-invitation"
_FOR = 3600


class LinkMissing(Gone):
    title = "Open the link in the mail once more"


class Answer(Struct):
    """do: accept, sign_in, confirm, decline, renew, or sign_out."""

    do: str
    password: Password = ""


@get("/t/{slug:str}/invitation/{code:str}", permission=PUBLIC)
async def open_link(
    request: Request, doors: TheDoors, browser: TheBrowser, slug: FromPath[str], code: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    read_code(code)
    return view.redirect(f"{view.base}/invitation", cookie(LINK, code, max_age=_FOR))


@get("/t/{slug:str}/invitation", permission=PUBLIC)
async def show_invitation(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    context = await _look(view, request, secret)
    return view.show("invitation.html", **context)


@post("/t/{slug:str}/invitation", permission=PUBLIC, guards=[web.require_own_page])
async def answer_invitation(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    form = await read_form(request, Answer)
    code, tenant_id = _code(request), view.here
    if form.do == "renew":
        await accepting.renew(doors, tenant_id=tenant_id, code=code)
        return view.show("told.html", title=view.text("invitation"), said=view.text("renewed"))
    context = await _look(view, request, secret)
    view.again("invitation.html", **context)
    match form.do:
        case "accept":
            done = await accepting.accept_as_new(
                doors, browser, tenant_id=tenant_id, code=code, password=form.password, secret=secret
            )
            return _accepted(view, done)
        case "confirm":
            done = await accepting.accept_as_person(doors, tenant_id=tenant_id, code=code, secret=secret)
            return _accepted(view, done)
        case "sign_in":
            address = context["seen"].opened.generation.address
            entry = await sign_in(doors, browser, slug=None, login=address, password=form.password, secret=secret)
            return view.redirect(view.path, *web.signed_in(entry.secret, browser, doors.settings))
        case "sign_out":
            await sessions.sign_out(doors, secret)
            return view.redirect(view.path, cookie(SESSION, "", max_age=0))
        case "decline":
            await accepting.decline(doors, tenant_id=tenant_id, code=code)
            return view.show(
                "told.html",
                title=view.text("invitation"),
                said=view.text("declined"),
                cookies=[cookie(LINK, "", max_age=0)],
            )
    raise Malformed(field="do")


async def _look(view: View, request: Request, secret: str | None) -> dict[str, Any]:
    """What the page shows. Raises why the link does not work, in the language of who was invited."""
    code = _code(request)
    view.speak(await accepting.locale_of_invited(view.doors, tenant_id=view.here, code=code))
    seen = await accepting.look(view.doors, tenant_id=view.here, code=code, secret=secret)
    return {
        "seen": seen,
        "invited": masked_address(seen.opened.generation.address),
        "providers": ways_to_accept(view.connections, seen.opened.membership),
    }


def _code(request: Request) -> str:
    code = request.cookies.get(LINK)
    if not code:
        raise LinkMissing
    return code


def _accepted(view: View, done: Accepted) -> Response[Any]:
    cookies = [*web.signed_in(done.entry.secret, view.browser, view.doors.settings), cookie(LINK, "", max_age=0)]
    if done.waits is None:
        return view.redirect(view.base, *cookies)
    said = (
        view.text("accepted_waiting", time=view.time(done.starts_at))
        if done.starts_at
        else view.text("accepted_waiting_open")
    )
    return view.show("told.html", title=view.text("invitation"), said=said, cookies=cookies)
