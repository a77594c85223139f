"""What identity's handlers take from a browser: its cookies, where the request comes from, and that it is our own page
that sends it. Three services know bearer tokens only; cookies end here.
"""

import secrets
from urllib.parse import urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler

from libs.common.errors import Forbidden
from libs.common.request_context import client_ip
from services.identity.doors import Doors
from services.identity.settings import Settings
from services.identity.throttling.rules import Browser

SESSION, DEVICE = "__Host-session", "__Host-device"
_YEAR = 365 * 24 * 3600

TheDoors = NamedDependency[Doors]
TheBrowser = NamedDependency[Browser]
TheSecret = NamedDependency[str | None]
"""The session cookie's value."""


class CrossSite(Forbidden):
    title = "This request did not come from our own pages"


def require_own_page(connection: ASGIConnection, _: BaseRouteHandler) -> None:
    """Guard of what a browser posts: refuses what another site makes it send. Browsers say so in one of two headers."""
    doors: Doors = connection.app.state.doors
    site = connection.headers.get("sec-fetch-site")
    origin = connection.headers.get("origin", _origin(doors.settings))
    ours = site in ("same-origin", "none") if site else origin == _origin(doors.settings)
    if not ours:
        raise CrossSite


def require_csrf_header(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    """Guard of what acts for a cookie: a header that no form and no other site can send without being asked first."""
    require_own_page(connection, handler)
    if connection.headers.get("x-csrf") != "1":
        raise CrossSite(header="X-CSRF: 1")


def provide_doors(request: Request) -> Doors:
    doors: Doors = request.app.state.doors
    return doors


def provide_browser(request: Request) -> Browser:
    device = request.cookies.get(DEVICE) or secrets.token_urlsafe(32)
    agent = "".join(character for character in request.headers.get("user-agent", "") if character.isprintable())
    return Browser(client_ip(request), device, agent[:200])


def provide_secret(request: Request) -> str | None:
    return request.cookies.get(SESSION)


def dependencies() -> dict[str, Provide]:
    """doors, browser and secret, for a router's handlers."""
    return {
        "doors": Provide(provide_doors, sync_to_thread=False),
        "browser": Provide(provide_browser, sync_to_thread=False),
        "secret": Provide(provide_secret, sync_to_thread=False),
    }


def signed_in(secret: str, browser: Browser, settings: Settings) -> list[Cookie]:
    """The cookies of a sign-in."""
    return [
        cookie(SESSION, secret, max_age=settings.session_hours * 3600),
        device_cookie(browser),
    ]


def device_cookie(browser: Browser) -> Cookie:
    return cookie(DEVICE, browser.device, max_age=_YEAR)


def cookie(name: str, value: str, *, max_age: int) -> Cookie:
    """`__Host-`: secure, for this host alone, on all its paths. max_age 0 takes it away."""
    return Cookie(name, value=value, path="/", max_age=max_age, secure=True, httponly=True, samesite="lax")


def _origin(settings: Settings) -> str:
    parts = urlsplit(settings.public_url)
    return f"{parts.scheme}://{parts.netloc}"
