"""Where a tenant's admins connect their identity provider: what to copy there, what it answers, what that comes to."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Struct

from libs.common.auth import PUBLIC
from libs.common.errors import Forbidden, Malformed
from libs.common.permissions import Group, Permission, Role
from libs.common.tokens import Actor
from services.identity import web
from services.identity.connections import rules
from services.identity.connections.attempts import begin
from services.identity.connections.discovery import provider_of
from services.identity.connections.problems import ProviderUnfit
from services.identity.connections.schemas import ConnectionChanges, ConnectionIn, GroupMapping, Mapping, PreviewIn
from services.identity.doors import Doors
from services.identity.pages.connections import leave
from services.identity.pages.views import View, read_form, view_of
from services.identity.roles import grants
from services.identity.sessions.here import require_here
from services.identity.web import TheBrowser, TheDoors, TheSecret

_NOTICES = {"saved": "connection_saved", "tested": "connection_tested"}
_CLAIMS = '{\n  "sub": "4711",\n  "email": "carla@example.org",\n  "email_verified": true,\n  "name": "Carla"\n}'


class New(Struct):
    name: str
    issuer: str
    client_id: str
    client_secret: str
    admission: str = "invited"


class Settings(Struct):
    """do: discover, change, map, preview, test, enable, disable or delete, with the fields that its form has."""

    do: str
    version: str = "0"
    name: str = ""
    client_id: str = ""
    client_secret: str = ""
    scopes: str = ""
    admission: str = "invited"
    email: str = "email"
    display_name: str = "name"
    locale: str = "locale"
    groups_claim: str = ""
    groups: str = ""
    claims: str = ""


@get("/t/{slug:str}/connections", permission=PUBLIC)
async def show_connections(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    await _admin(view, secret, Permission.CONNECTIONS_READ)
    return view.show("connections.html", **await _all(view))


@post("/t/{slug:str}/connections", permission=PUBLIC, guards=[web.require_own_page])
async def create(
    request: Request, doors: TheDoors, browser: TheBrowser, secret: TheSecret, slug: FromPath[str]
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    actor = await _admin(view, secret, Permission.CONNECTIONS_WRITE)
    view.again("connections.html", **await _all(view))
    form = await read_form(request, New)
    data = _convert(msgspec.structs.asdict(form), ConnectionIn)
    async with doors.database.session(view.here) as session:
        connection = await rules.create_connection(doors, session, actor, data)
    try:
        await rules.refresh_connection(doors, view.here, connection.id, actor)
    except ProviderUnfit as error:
        view.again("connection.html", **await _one(view, connection.id))
        return view.show_again(error)
    return view.redirect(f"{view.base}/connections/{connection.id}?done=saved")


@get("/t/{slug:str}/connections/{connection_id:uuid}", permission=PUBLIC)
async def show_connection(
    request: Request,
    doors: TheDoors,
    browser: TheBrowser,
    secret: TheSecret,
    slug: FromPath[str],
    connection_id: FromPath[UUID],
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    await _admin(view, secret, Permission.CONNECTIONS_READ)
    return view.show("connection.html", **await _one(view, connection_id))


@post("/t/{slug:str}/connections/{connection_id:uuid}", permission=PUBLIC, guards=[web.require_own_page])
async def change(
    request: Request,
    doors: TheDoors,
    browser: TheBrowser,
    secret: TheSecret,
    slug: FromPath[str],
    connection_id: FromPath[UUID],
) -> Response[Any]:
    view = await view_of(request, doors, browser, slug)
    actor = await _admin(view, secret, Permission.CONNECTIONS_WRITE)
    shown = await _one(view, connection_id)
    view.again("connection.html", **shown)
    form = await read_form(request, Settings)
    view.again("connection.html", **{**shown, **_typed(form)})
    if form.do == "test":
        assert view.tenant is not None  # noqa: S101 the page stands under one
        return leave(view, await begin(doors, browser, view.tenant, connection_id, "test", actor.id))
    if form.do == "discover":
        await rules.refresh_connection(doors, view.here, connection_id, actor)
        return view.redirect(f"{view.path}?done=saved")
    if form.do == "preview":
        preview = PreviewIn(_claims(form.claims))
        mapped = rules.preview(shown["connection"], actor, preview)
        return view.show("connection.html", **{**shown, "preview": mapped, "claims": form.claims})
    await _save(doors, view, actor, connection_id, form)
    gone = form.do == "delete"
    return view.redirect(f"{view.base}/connections" if gone else f"{view.path}?done=saved")


async def _save(doors: Doors, view: View, actor: Actor, connection_id: UUID, form: Settings) -> None:
    async with doors.database.session(view.here) as session:
        match form.do:
            case "map":
                await rules.set_mapping(session, actor, connection_id, _mapping(form), _version(form))
            case "delete":
                await rules.delete_connection(session, actor, connection_id, _version(form))
            case "enable" | "disable" | "change":
                changes = _changes(form)
                await rules.change_connection(doors, session, actor, connection_id, changes, _version(form))
            case _:
                raise Malformed(field="do")


def _typed(form: Settings) -> dict[str, str]:
    """What somebody has written by hand is there again to be put right."""
    match form.do:
        case "map":
            return {"groups": form.groups}
        case "preview":
            return {"claims": form.claims}
    return {}


async def _admin(view: View, secret: str | None, right: Permission) -> Actor:
    """Raises Unauthenticated or Forbidden."""
    here = await require_here(view.doors, secret, view.here)
    assert here.membership is not None  # noqa: S101 it is open
    view.speak(here.membership.locale)
    async with view.doors.database.session(view.here) as session:
        found = await grants.rights_of_member(session, here.membership.id)
    if right not in found.rights or here.session.must_change:
        raise Forbidden(permission=right)
    return Actor(
        kind="member",
        id=here.membership.id,
        tenant_id=view.here,
        session_id=str(here.session.id),
        rights=found.rights,
        expires_at=float("inf"),
    )


async def may_set_up(view: View, member_id: UUID) -> bool:
    async with view.doors.database.session(view.here) as session:
        return Permission.CONNECTIONS_READ in (await grants.rights_of_member(session, member_id)).rights


async def _all(view: View) -> dict[str, Any]:
    async with view.doors.database.session(view.here) as session:
        return {"connections": await rules.list_connections(session)}


async def _one(view: View, connection_id: UUID) -> dict[str, Any]:
    """Raises NotFound."""
    done = _NOTICES.get(view.done)
    async with view.doors.database.session(view.here) as session:
        connection = await rules.get_connection(session, connection_id)
        attempts = await rules.list_attempts(session, connection_id)
    slug = view.tenant.slug if view.tenant else ""
    test = next((one for one in attempts if one.purpose == "test" and one.outcome), None)
    details = (test.details or {}) if test else {}
    return {
        "connection": connection,
        "provider": provider_of(connection.provider) if connection.provider else None,
        "mapping": rules.mapping_of(connection),
        "groups": "\n".join(_group_lines(rules.mapping_of(connection))),
        "copy": {
            "redirect_uri": rules.redirect_uri(view.doors, slug, connection.id),
            "logout_uri": rules.logout_uri(view.doors, slug),
            "backchannel_uri": rules.backchannel_uri(view.doors, slug, connection.id),
        },
        "attempts": [one for one in attempts if one.outcome],
        "test": test,
        "tested": details,
        "tested_claims": _pretty(details.get("claims")),
        "preview": None,
        "claims": _pretty(details.get("claims")) or _CLAIMS,
        "notice": view.text(done) if done else "",
    }


def _group_lines(mapping: Mapping) -> Iterable[str]:
    for one in mapping.groups:
        yield f"{one.value} = {', '.join([*one.roles, *one.permission_groups])}"


def _mapping(form: Settings) -> Mapping:
    """Raises Malformed, naming the line that cannot be read."""
    groups = []
    for line in filter(None, (line.strip() for line in form.groups.splitlines())):
        value, sign, names = line.rpartition("=")
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        if not sign or not value.strip() or set(wanted) - set(Role) - set(Group):
            raise Malformed(reason="group_line", line=line[:200])
        roles = [name for name in wanted if name in set(Role)]
        given = {
            "value": value.strip(),
            "roles": roles,
            "permission_groups": [one for one in wanted if one in set(Group)],
        }
        groups.append(_convert(given, GroupMapping))
    fields = {"email": form.email, "display_name": form.display_name, "locale": form.locale}
    return _convert(
        {**fields, "groups_claim": form.groups_claim.strip() or None, "groups": msgspec.to_builtins(groups)}, Mapping
    )


def _version(form: Settings) -> int:
    if not form.version.isdecimal() or len(form.version) > 9:
        raise Malformed(field="version")
    return int(form.version)


def _changes(form: Settings) -> ConnectionChanges:
    if form.do != "change":
        return ConnectionChanges(state="enabled" if form.do == "enable" else "disabled")
    given: dict[str, Any] = {"name": form.name, "client_id": form.client_id, "admission": form.admission}
    given["scopes"] = form.scopes.split()
    if form.client_secret:
        given["client_secret"] = form.client_secret
    return _convert(given, ConnectionChanges)


def _claims(typed: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(typed, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Malformed(reason="claims") from error


def _convert[T](given: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise Malformed(field=str(error)) from error


def _pretty(claims: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(claims), indent=2).decode() if claims else ""
