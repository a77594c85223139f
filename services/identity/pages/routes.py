"""Pages for people, drawn on the server: they work without JavaScript, and nothing inline is allowed to run."""

from functools import cache
from pathlib import Path
from typing import Any

from litestar import Request, Response, Router, get
from litestar.params import FromPath

from libs.common.auth import PUBLIC
from libs.common.db import PLATFORM
from libs.common.errors import AppError, NotFound
from services.identity import web
from services.identity.pages import (
    colours,
    connection_setup,
    connections,
    entrance,
    invitation,
    password,
    sessions,
)
from services.identity.pages.views import show_error, show_unexpected, view_of
from services.identity.tenants.rules import find_tenant, find_tenant_id
from services.identity.web import TheBrowser, TheDoors

_KEPT = {"Cache-Control": "public, max-age=300"}


@get("/identity/pages/style.css", permission=PUBLIC, sync_to_thread=False)
def read_style() -> Response[bytes]:
    return Response(_file("style.css"), media_type="text/css", headers=_KEPT)


@get("/identity/pages/icon.svg", permission=PUBLIC, sync_to_thread=False)
def read_icon() -> Response[bytes]:
    return Response(_file("icon.svg"), media_type="image/svg+xml", headers=_KEPT)


@get(["/identity/pages/colour.css", "/t/{slug:str}/colour.css"], permission=PUBLIC)
async def read_colour(doors: TheDoors, slug: FromPath[str | None] = None) -> Response[str]:
    """The tenant's colour as a style sheet of its own: inline styles are forbidden."""
    async with doors.database.session(PLATFORM) as session:
        tenant_id = await find_tenant_id(session, slug) if slug else None
    async with doors.database.session(tenant_id or PLATFORM) as session:
        tenant = await find_tenant(session, tenant_id) if tenant_id else None
    return Response(colours.stylesheet(tenant.colour if tenant else None), media_type="text/css", headers=_KEPT)


@get("/t/{slug:str}/{rest:path}", permission=PUBLIC)
async def read_nothing(
    request: Request, doors: TheDoors, browser: TheBrowser, slug: FromPath[str], rest: FromPath[Path]
) -> Response[Any]:
    """Whoever mistypes a tenant's address is told so by a page."""
    await view_of(request, doors, browser, slug)
    raise NotFound


@cache
def _file(name: str) -> bytes:
    return Path(__file__).with_name(name).read_bytes()


_handlers: list[Any] = [
    read_style,
    read_icon,
    read_colour,
    read_nothing,
    entrance.show_entrance,
    entrance.enter,
    invitation.open_link,
    invitation.show_invitation,
    invitation.answer_invitation,
    password.show_forgot,
    password.ask_reset,
    password.open_link,
    password.show_reset,
    password.set_password,
    password.show_change,
    password.change,
    sessions.show_sessions,
    sessions.end_sessions,
    connections.go,
    connections.back,
    connections.end_from_outside,
    connection_setup.show_connections,
    connection_setup.create,
    connection_setup.show_connection,
    connection_setup.change,
]

router = Router(
    "/",
    route_handlers=_handlers,
    dependencies=web.dependencies(),
    exception_handlers={AppError: show_error, Exception: show_unexpected},
    include_in_schema=False,
)
