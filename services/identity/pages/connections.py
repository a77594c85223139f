"""The doors between a tenant's sign-in page and its identity provider: there, back, and out again.

There goes by a page of its own, which the browser leaves at once: a form may not end at another site (form-action).
"""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Struct

from libs.common.auth import PUBLIC
from libs.common.errors import AppError, Malformed
from services.identity import web
from services.identity.connections.attempts import LASTS, Answer, Begun, Purpose, begin, cookie_name
from services.identity.connections.leaving import end_by_provider
from services.identity.connections.problems import reason_of
from services.identity.connections.returning import come_back
from services.identity.pages.views import View, read_form, view_of
from services.identity.sessions.here import require_here
from services.identity.sessions.rules import tenant_of
from services.identity.tenants.tables import Tenant
from services.identity.web import TheBrowser, TheDoors, TheSecret, cookie

_LONGEST = 4096


class Go(Struct):
    """do: sign_in, or connect (one's own membership, signed in to it)."""

    do: str


@post("/t/{slug:str}/sign-in/{connection_id:uuid}", permission=PUBLIC, guards=[web.require_own_page])
async def go(
    request: Request,
    doors: TheDoors,
    browser: TheBrowser,
    secret: TheSecret,
    slug: FromPath[str],
    connection_id: FromPath[UUID],
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    form = await read_form(request, Go)
    tenant = _tenant(view)
    match form.do:
        case "sign_in":
            begun = await begin(doors, browser, tenant, connection_id, "sign_in")
        case "connect":
            here = await require_here(doors, secret, tenant.id)
            member_id = here.membership.id if here.membership else None
            begun = await begin(doors, browser, tenant, connection_id, "connect", member_id)
        case _:
            raise Malformed(field="do")
    return leave(view, begun)


@get("/t/{slug:str}/connections/{connection_id:uuid}/callback", permission=PUBLIC)
async def back(
    request: Request,
    doors: TheDoors,
    browser: TheBrowser,
    secret: TheSecret,
    slug: FromPath[str],
    connection_id: FromPath[UUID],
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    answer = _answer(request)
    name = cookie_name(answer.state)
    given = request.cookies.get(name)
    returned = await come_back(doors, browser, _tenant(view), connection_id, answer, given, secret)
    used = cookie(name, "", max_age=0)
    purpose: Purpose = returned.purpose  # type: ignore[assignment]
    if purpose == "test":
        return view.redirect(f"{view.base}/connections/{connection_id}?done=tested#tested", used)
    if returned.entry is None:
        return view.redirect(f"{view.base}?done=connected", used)
    return view.redirect(view.base, used, *web.signed_in(returned.entry.secret, browser, doors.settings))


@post("/t/{slug:str}/connections/{connection_id:uuid}/backchannel-logout", permission=PUBLIC, status_code=200)
async def end_from_outside(
    request: Request, doors: TheDoors, slug: FromPath[str], connection_id: FromPath[UUID]
) -> Response[Any]:
    """Back-Channel Logout 1.0 section 2.8: the provider itself asks, and is told yes or no."""
    token = (await request.form()).get("logout_token")
    kept = {"Cache-Control": "no-store"}
    try:
        await end_by_provider(doors, await tenant_of(doors, slug), connection_id, str(token or ""))
    except AppError as error:
        said = {"error": "invalid_request", "error_description": reason_of(error)}
        return Response(said, status_code=400 if error.status < 500 else 503, headers=kept)
    return Response(None, status_code=200, headers=kept)


def leave(view: View, begun: Begun) -> Response[Any]:
    """A page that a browser leaves by itself, and a link for one that does not."""
    back = cookie(begun.name, begun.cookie, max_age=int(LASTS.total_seconds()))
    answer = view.show("leave.html", url=begun.url, cookies=[back])
    answer.headers["Refresh"] = f"0;url={begun.url}"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _answer(request: Request) -> Answer:
    """Raises Malformed for a parameter that comes twice (RFC 6749 section 3.1), or is longer than any is."""
    given: dict[str, str] = {}
    for name in Answer.__struct_fields__:
        values = request.query_params.getall(name, [])
        if len(values) > 1 or any(len(value) > _LONGEST for value in values):
            raise Malformed(field=name)
        given[name] = values[0] if values else ""
    return Answer(**given)


def _tenant(view: View) -> Tenant:
    assert view.tenant is not None  # noqa: S101 the page stands under one
    return view.tenant
