"""One request for a page: whose tenant, which language, what to show, and what to show again when a rule refuses."""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response
from litestar.datastructures import Cookie

from libs.common.app import unexpected
from libs.common.db import PLATFORM
from libs.common.errors import AppError, Forbidden, Malformed, NotFound
from services.identity import web
from services.identity.connections.rules import list_buttons
from services.identity.connections.tables import Connection
from services.identity.doors import Doors
from services.identity.pages import nonces, strings
from services.identity.pages.strings import accepted, language_of
from services.identity.tenants.rules import find_tenant_id, get_tenant
from services.identity.tenants.tables import Tenant
from services.identity.throttling.rules import Browser

LANGUAGE = "__Host-language"
CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class PageExpired(Forbidden):
    title = "This page was open for too long, or the browser takes no cookies"


class View:
    """Made by each handler of a page; `again` is what a refusal shows, with the error beside it."""

    def __init__(self, request: Request, doors: Doors, browser: Browser, tenant: Tenant | None) -> None:
        self.doors, self.browser, self.tenant = doors, browser, tenant
        self.path = request.url.path
        self.done = request.query_params.get("done", "")  # what a redirect has to tell
        self.connections: list[Connection] = []  # by which one may sign in here
        self._asked = request.query_params.get("lang")
        said = (self._asked, request.cookies.get(LANGUAGE))
        self._visitor = (*said, *accepted(request.headers.get("accept-language", "")))
        self.language = language_of(*self._visitor, tenant.locale if tenant else None)
        self._again: tuple[str, dict[str, Any]] = ("problem.html", {})
        request.scope["state"]["view"] = self

    @property
    def base(self) -> str:
        """Where this tenant's pages stand; empty for the global ones."""
        return f"/t/{self.tenant.slug}" if self.tenant else ""

    @property
    def here(self) -> UUID:
        """The tenant of a page that stands under one."""
        return self.tenant.id if self.tenant else PLATFORM

    def speak(self, locale: str | None) -> None:
        """The language of whom a page is for, unless this browser's human has said otherwise."""
        chosen = (one for one in self._visitor[:2] if one)
        self.language = language_of(*chosen, locale, self.language)

    def again(self, template: str, **context: Any) -> None:
        self._again = (template, context)

    def show(
        self,
        template: str,
        *,
        status: int = 200,
        cookies: Sequence[Cookie] = (),
        error: AppError | None = None,
        **context: Any,
    ) -> Response[str]:
        refused = error.code() if error else ""
        given = {"view": self, "error": error, "refused": refused, **context}
        html = _templates().get_template(template).render(**given, t=self.text, nonce=self.nonce, time=self.time)
        return Response(
            html,
            status_code=status,
            media_type="text/html",
            cookies=[*cookies, *self._lasting()],
            headers={"Content-Security-Policy": CSP, "Content-Language": self.language},
        )

    def show_again(self, error: AppError) -> Response[str]:
        template, context = self._again if error.status < 500 else ("problem.html", {})
        return self.show(template, status=error.status, error=error, **context)

    def redirect(self, path: str, *cookies: Cookie) -> Response[None]:
        """See other: what was posted is not posted again by going back."""
        return Response(None, status_code=303, headers={"Location": path}, cookies=list(cookies))

    def text(self, key: str, **values: object) -> str:
        return strings.text(key, self.language, **values)

    def explain(self, error: AppError) -> str:
        """The error in words: by its code, and by its cause or reason where it has one."""
        detail = error.params.get("cause") or error.params.get("reason")
        key = f"error.{error.code()}" + (f".{detail}" if detail else "")
        if key not in strings.STRINGS:
            key = "error.malformed" if error.status < 500 else "error.unavailable"
        return self.text(key, **error.params)

    def outcome(self, code: str) -> str:
        """What came of a sign-in with a provider, as its row says it: `done`, or an error's code and reason."""
        key = "outcome.done" if code == "done" else f"error.{code}"
        found = strings.STRINGS.get(key, strings.STRINGS["problem"])[strings.LANGUAGES.index(self.language)]
        return found.partition("{")[0].rstrip(" :.(") + "."

    def nonce(self, action: str) -> str:
        return nonces.nonce_for(self.browser.device, action)

    def time(self, at: datetime) -> str:
        """As people in the tenant's time zone write it; the calendar's last hours as they are, in UTC."""
        local = at
        with contextlib.suppress(OverflowError):
            local = at.astimezone(ZoneInfo(self.tenant.time_zone if self.tenant else "UTC"))
        zone = "" if self.tenant else " UTC"
        if self.language == "de":
            return f"{local:%d.%m.%Y, %H:%M} Uhr{zone}"
        return f"{local.day} {local:%B %Y, %H:%M}{zone}"

    def link(self, url: str | None) -> str | None:
        """A tenant's own address, if it is one that a browser should open."""
        return url if url and urlsplit(url).scheme in ("http", "https") else None

    @property
    def other_language(self) -> str:
        return "en" if self.language == "de" else "de"

    def _lasting(self) -> list[Cookie]:
        found = [web.device_cookie(self.browser)]
        if self._asked in strings.LANGUAGES:
            found.append(web.cookie(LANGUAGE, self.language, max_age=365 * 24 * 3600))
        return found


async def view_of(request: Request, doors: Doors, browser: Browser, slug: str | None) -> View:
    """Raises NotFound for a tenant that is not there."""
    if slug is None:
        return View(request, doors, browser, None)
    async with doors.database.session(PLATFORM) as session:
        tenant_id = await find_tenant_id(session, slug)
    if tenant_id is None:
        raise NotFound
    async with doors.database.session(tenant_id) as session:
        view = View(request, doors, browser, await get_tenant(session, tenant_id))
        view.connections = await list_buttons(session)
        return view


async def read_form[F: msgspec.Struct](request: Request, form: type[F]) -> F:
    """What was posted. Raises PageExpired where the page was not given to this browser, Malformed."""
    given = await request.form()
    fields = {name: value for name, value in given.items() if isinstance(value, str)}
    if not nonces.is_right(fields.pop("nonce", ""), request.cookies.get(web.DEVICE, ""), request.url.path):
        raise PageExpired
    try:
        return msgspec.convert(fields, form)
    except msgspec.ValidationError as error:
        raise Malformed(field=str(error)) from error


def show_error(request: Request, error: AppError) -> Response[Any]:
    """What every refusal of a page's rule becomes: the form again, or a page that names the cause."""
    view: View | None = request.scope["state"].get("view")
    if view is None:
        doors: Doors = request.app.state.doors
        view = View(request, doors, web.provide_browser(request), None)
    return view.show_again(error)


def show_unexpected(request: Request, error: Exception) -> Response[Any]:
    return show_error(request, unexpected(error))


@cache
def _templates() -> Environment:
    loader = PackageLoader("services.identity.pages")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
