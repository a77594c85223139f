from litestar import Router, delete, post
from litestar.params import JSONBody

from libs.common.app import CurrentActor, problems
from libs.common.auth import AUTHENTICATED, PUBLIC
from libs.common.errors import Unauthenticated
from libs.common.passwords import PasswordRefused
from services.identity import web
from services.identity.operators import rules
from services.identity.operators.rules import OperatorMustChangePassword
from services.identity.operators.schemas import OperatorSignInIn, OperatorTokenIn, OperatorTokenOut
from services.identity.sessions.sign_in import SignInRefused
from services.identity.throttling.rules import TooManyTries
from services.identity.web import CrossSite, TheBrowser, TheDoors


@post(
    "/sessions",
    permission=PUBLIC,
    guards=[web.require_own_page],
    summary="Sign in as an operator: password and one-time code",
    responses=problems(SignInRefused, OperatorMustChangePassword, PasswordRefused, TooManyTries, CrossSite),
)
async def create_session(doors: TheDoors, browser: TheBrowser, data: JSONBody[OperatorSignInIn]) -> OperatorTokenOut:
    token, secret = await rules.sign_in(
        doors,
        browser,
        address=data.address,
        password=data.password,
        code=data.totp,
        new_password=data.new_password,
    )
    return OperatorTokenOut(token.access_token, token.expires_in, secret)


@post(
    "/token",
    permission=PUBLIC,
    status_code=200,
    summary="Another access token for an operator's session",
    responses=problems(Unauthenticated),
)
async def create_token(doors: TheDoors, data: JSONBody[OperatorTokenIn]) -> OperatorTokenOut:
    token = await rules.more(doors, data.session)
    return OperatorTokenOut(token.access_token, token.expires_in, data.session)


@delete("/sessions/current", permission=AUTHENTICATED, operator=True, summary="Sign out as an operator")
async def end_session(doors: TheDoors, actor: CurrentActor) -> None:
    await rules.sign_out(doors, actor)


router = Router(
    "/identity/v1/operator",
    route_handlers=[create_session, create_token, end_session],
    dependencies=web.dependencies(),
    tags=["Operators"],
)
