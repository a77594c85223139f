"""One's own sessions, listed and ended."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Struct

from libs.common.auth import PUBLIC
from libs.common.errors import Malformed
from services.identity import web
from services.identity.pages.agents import browser_name
from services.identity.pages.views import read_form, view_of
from services.identity.sessions.here import end_some, find_own, require_here
from services.identity.web import TheBrowser, TheDoors, TheSecret


class End(Struct):
    """do: end (session), or end_others."""

    do: str
    session: UUID | None = None


@get("/t/{slug:str}/sessions", permission=PUBLIC)
async def show_sessions(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    here = await require_here(doors, secret, view.here)
    own = await find_own(doors, here)
    return view.show("sessions.html", sessions=own, current=here.session.id, browser_name=browser_name)


@post("/t/{slug:str}/sessions", permission=PUBLIC, guards=[web.require_own_page])
async def end_sessions(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    form = await read_form(request, End)
    here = await require_here(doors, secret, view.here)
    if form.do not in ("end", "end_others") or (form.do == "end" and form.session is None):
        raise Malformed(field="do")
    await end_some(doors, here, form.session if form.do == "end" else None)
    return view.redirect(view.path)
