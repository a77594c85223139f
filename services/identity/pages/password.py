"""Forgotten, reset and changed passwords. The answer to *forgot password* is one for everybody."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Struct

from libs.common.auth import PUBLIC
from libs.common.links import read_code
from services.identity import web
from services.identity.pages.invitation import LinkMissing
from services.identity.pages.views import read_form, view_of
from services.identity.passwords import resets, rules
from services.identity.passwords.asked import forgot
from services.identity.sessions.here import require_here
from services.identity.sessions.schemas import Password, Typed
from services.identity.web import SESSION, TheBrowser, TheDoors, TheSecret, cookie

LINK = "__Host-reset"
_FOR = 3600


class Forgot(Struct):
    login: Typed


class Reset(Struct):
    password: Password


class Change(Struct):
    new: Password
    current: Password | None = None


@get(["/password", "/t/{slug:str}/password"], permission=PUBLIC)
async def show_forgot(
    request: Request, doors: TheDoors, browser: TheBrowser, slug: FromPath[str | None] = None
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    return view.show("forgot.html")


@post(["/password", "/t/{slug:str}/password"], permission=PUBLIC, guards=[web.require_own_page])
async def ask_reset(
    request: Request, doors: TheDoors, browser: TheBrowser, slug: FromPath[str | None] = None
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    view.again("forgot.html")
    form = await read_form(request, Forgot)
    await forgot(doors, browser, slug=slug, typed=form.login)
    return view.show("told.html", title=view.text("forgot"), said=view.text("link_sent"))


@get(["/password/{code:str}", "/t/{slug:str}/password/{code:str}"], permission=PUBLIC)
async def open_link(
    request: Request, doors: TheDoors, browser: TheBrowser, code: FromPath[str], slug: FromPath[str | None] = None
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    read_code(code)
    return view.redirect(f"{view.base}/password/new", cookie(LINK, code, max_age=_FOR))


@get(["/password/new", "/t/{slug:str}/password/new"], permission=PUBLIC)
async def show_reset(
    request: Request, doors: TheDoors, browser: TheBrowser, slug: FromPath[str | None] = None
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    reset = await resets.open_reset(doors, _code(request))
    return view.show("reset.html", address=reset.address)


@post(["/password/new", "/t/{slug:str}/password/new"], permission=PUBLIC, guards=[web.require_own_page])
async def set_password(
    request: Request, doors: TheDoors, browser: TheBrowser, slug: FromPath[str | None] = None
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    form = await read_form(request, Reset)
    reset = await resets.open_reset(doors, _code(request))
    view.again("reset.html", address=reset.address)
    await resets.reset_password(doors, code=_code(request), new=form.password)
    gone = [cookie(LINK, "", max_age=0), cookie(SESSION, "", max_age=0)]
    return view.redirect(f"{view.base or '/'}?done=password", *gone)


@get("/t/{slug:str}/change-password", permission=PUBLIC)
async def show_change(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    here = await require_here(doors, secret, view.here, to_change=True)
    return view.show("change_password.html", who=here.who, must_change=here.session.must_change)


@post("/t/{slug:str}/change-password", permission=PUBLIC, guards=[web.require_own_page])
async def change(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    form = await read_form(request, Change)
    here = await require_here(doors, secret, view.here, to_change=True)
    view.again("change_password.html", who=here.who, must_change=here.session.must_change)
    await rules.change_password(doors, browser, secret=secret, current=form.current, new=form.new)
    return view.redirect(f"{view.base}?done=changed")


def _code(request: Request) -> str:
    code = request.cookies.get(LINK)
    if not code:
        raise LinkMissing
    return code
