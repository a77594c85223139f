from typing import Any

from litestar import Response, Router, get, post
from litestar.params import JSONBody

from libs.common.app import problems
from libs.common.auth import PUBLIC
from libs.common.errors import Unauthenticated
from services.identity import web
from services.identity.beats.rules import RevocationsDelayed
from services.identity.sessions.rules import AccessBarred, MustChangePassword, NoAccessHere, TenantClosed
from services.identity.tokens import rules
from services.identity.tokens.rules import AccessToken, RefreshReused, SayWhichTenant
from services.identity.tokens.schemas import RefreshIn, RefreshOut, TokenIn, TokenOut
from services.identity.web import CrossSite, TheDoors, TheSecret

_REFUSED = (Unauthenticated, NoAccessHere, AccessBarred, TenantClosed, MustChangePassword, RevocationsDelayed)


@get("/jwks", permission=PUBLIC, summary="The public keys of access tokens (RFC 7517)")
async def read_jwks(doors: TheDoors) -> Response[dict[str, Any]]:
    return Response(doors.keys.jwks(), headers={"Cache-Control": "public, max-age=60"})


@post(
    "/token",
    permission=PUBLIC,
    guards=[web.require_csrf_header],
    status_code=200,
    summary="An access token for the session cookie",
    responses=problems(*_REFUSED, SayWhichTenant, CrossSite),
)
async def create_token(doors: TheDoors, secret: TheSecret, data: JSONBody[TokenIn]) -> TokenOut:
    return _out(await rules.token_for_cookie(doors, secret, data.slug))


@post(
    "/refresh-tokens",
    permission=PUBLIC,
    guards=[web.require_csrf_header],
    summary="A refresh token, for a client that keeps no cookie",
    responses=problems(*_REFUSED, SayWhichTenant, CrossSite),
)
async def create_refresh_token(doors: TheDoors, secret: TheSecret, data: JSONBody[TokenIn]) -> RefreshOut:
    return _pair(*await rules.start_family(doors, secret, data.slug))


@post(
    "/refresh",
    permission=PUBLIC,
    status_code=200,
    summary="The next access token and refresh token",
    responses=problems(*_REFUSED, RefreshReused),
)
async def refresh(doors: TheDoors, data: JSONBody[RefreshIn]) -> RefreshOut:
    return _pair(*await rules.refresh(doors, data.refresh_token))


router = Router(
    "/identity/v1",
    route_handlers=[read_jwks, create_token, create_refresh_token, refresh],
    dependencies=web.dependencies(),
    tags=["Tokens"],
)


def _out(token: AccessToken) -> TokenOut:
    return TokenOut(token.access_token, token.expires_in)


def _pair(token: AccessToken, refresh_token: str) -> RefreshOut:
    return RefreshOut(token.access_token, token.expires_in, refresh_token)
