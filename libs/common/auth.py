"""Who may come in. Every handler states a permission or says that it is public; the guard enforces it before anything
is opened.

    opt={"permission": Permission.MEMBERS_READ}                  a member with this right
    opt={"permission": AUTHENTICATED}                            any member of the tenant
    opt={"permission": PUBLIC}                                   anybody
    opt={"permission": AUTHENTICATED, "operator": True}          an operator, under /{service}/v1/operator/ only
"""

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from libs.common.errors import Forbidden, Unauthenticated
from libs.common.logs import bind
from libs.common.tokens import TokenVerifier

PUBLIC = "public"
AUTHENTICATED = "authenticated"


async def require_permission(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    """App-level guard. Raises Unauthenticated (401), Forbidden (403) or, while it cannot say, Unavailable (503).

    Async, although it waits for nothing: Litestar runs a plain function in a thread, which costs more than the rest.
    """
    permission = handler.opt["permission"]
    if permission == PUBLIC:
        return
    verifier: TokenVerifier = connection.app.state.verifier
    actor = verifier.actor(_bearer(connection), operator=bool(handler.opt.get("operator")))
    if permission != AUTHENTICATED and permission not in actor.rights:
        raise Forbidden(permission=permission)
    connection.scope["user"] = actor
    bind(tenant_id=actor.tenant_id)


def require_stated_permissions(app: Litestar) -> None:
    """Raises TypeError for a handler that states no permission, or whose path and `operator` disagree: the audience of
    a token is chosen by the route as it was written, never by the path as it was asked for.
    """
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            if not isinstance(handler, HTTPRouteHandler):
                continue
            if not handler.opt.get("permission"):
                if handler.handler_name != "options_handler" and not handler.opt.get("openapi_document"):
                    raise TypeError(f"{handler} states no permission")
                handler.opt["permission"] = PUBLIC
            if handler.opt["permission"] == PUBLIC:
                continue
            if ("/v1/operator/" in f"{route.path}/") != bool(handler.opt.get("operator")):
                raise TypeError(
                    f"{handler} under {route.path}: operators' routes stand under /v1/operator/ and say operator=True"
                )


def _bearer(connection: ASGIConnection) -> str:
    """The token of the one Authorization header; a query parameter or a form field is never looked at."""
    given = connection.headers.getall("authorization", [])
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token
