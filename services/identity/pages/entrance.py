"""Signing in: at a tenant by login name or address, at the global page by address; choosing and switching tenants."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Struct

from libs.common.auth import PUBLIC
from libs.common.errors import Malformed
from services.identity import web
from services.identity.connections.leaving import way_out
from services.identity.pages.connection_setup import may_set_up
from services.identity.pages.views import View, read_form, view_of
from services.identity.sessions import rules
from services.identity.sessions.here import Here, find_choices, find_here
from services.identity.sessions.schemas import Password, Slug, Typed
from services.identity.sessions.sign_in import sign_in
from services.identity.web import SESSION, TheBrowser, TheDoors, TheSecret, cookie

_NOTICES = {"password": "password_set", "changed": "password_changed", "connected": "connected"}


class Entrance(Struct):
    """do: sign_in, open, or sign_out. slug: at the global page, which tenant to open."""

    do: str
    login: Typed = ""
    password: Password = ""
    slug: Slug = ""


@get(["/", "/t/{slug:str}"], permission=PUBLIC)
async def show_entrance(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str | None] = None
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    here = await find_here(doors, secret, view.tenant.id if view.tenant else None)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    said = view.text(notice) if notice else ""
    if here is None:
        return view.show("sign_in.html", login="", notice=said, barred="")
    if view.tenant is None:
        return await _show_choices(view, here, secret)
    if here.membership is None:
        barred = view.text("no_access_yet", who=here.who) if here.who else ""
        return view.show("sign_in.html", login="", notice="", barred=barred)
    view.speak(here.membership.locale)
    if not here.opened:
        return view.show("continue.html", who=here.who)
    if here.session.must_change:
        return view.redirect(f"{view.base}/change-password")
    return view.show(
        "home.html",
        name=here.membership.display_name,
        who=here.who,
        is_person=here.session.person_id is not None,
        has_password="pwd" in here.session.amr,
        sets_up=await may_set_up(view, here.membership.id),
        notice=said,
    )


@post(["/", "/t/{slug:str}"], permission=PUBLIC, guards=[web.require_own_page])
async def enter(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str | None] = None
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    view.again("sign_in.html", login="", notice="", barred="")
    form = await read_form(request, Entrance)
    view.again("sign_in.html", login=form.login, notice="", barred="")
    match form.do:
        case "sign_in":
            entry = await sign_in(doors, browser, slug=slug, login=form.login, password=form.password, secret=secret)
            where = f"/t/{entry.tenant.slug}" if entry.tenant else "/"
            return view.redirect(where, *web.signed_in(entry.secret, browser, doors.settings))
        case "open":
            tenant = await rules.switch_tenant(doors, secret, slug or form.slug)
            return view.redirect(f"/t/{tenant.slug}")
        case "sign_out":
            out = await way_out(doors, view.tenant, secret) if view.tenant else None
            await rules.sign_out(doors, secret)
            gone = cookie(SESSION, "", max_age=0)
            if out is not None:
                return view.show("signed_out.html", provider=out.provider, url=out.url, cookies=[gone])
            return view.redirect(view.base or "/", gone)
    raise Malformed(field="do")


async def _show_choices(view: View, here: Here, secret: str | None) -> Response[Any]:
    if here.session.person_id is None:
        return view.show("sign_in.html", login="", notice="", barred="")
    return view.show("choose.html", who=here.who, choices=await find_choices(view.doors, secret))
