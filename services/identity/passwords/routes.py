from litestar import Router, post
from litestar.params import JSONBody

from libs.common.app import problems
from libs.common.auth import PUBLIC
from libs.common.errors import NotFound, Unauthenticated
from libs.common.links import LinkForAnother, LinkNotValid, LinkUnreadable
from libs.common.passwords import PasswordRefused
from services.identity import web
from services.identity.passwords import resets, rules
from services.identity.passwords.asked import forgot
from services.identity.passwords.resets import ResetExpired, ResetUsed
from services.identity.passwords.rules import WrongPassword
from services.identity.passwords.schemas import ChangeIn, ForgotIn, ResetIn
from services.identity.throttling.rules import TooManyTries
from services.identity.web import CrossSite, TheBrowser, TheDoors, TheSecret


@post(
    "/password-resets",
    permission=PUBLIC,
    guards=[web.require_own_page],
    status_code=204,
    summary="Forgot password: the same answer for everybody",
    responses=problems(NotFound, TooManyTries, CrossSite),
)
async def ask_reset(doors: TheDoors, browser: TheBrowser, data: JSONBody[ForgotIn]) -> None:
    await forgot(doors, browser, slug=data.slug, typed=data.login)


@post(
    "/password-resets/redeem",
    permission=PUBLIC,
    guards=[web.require_own_page],
    status_code=204,
    summary="Set a password by the link that was mailed",
    responses=problems(
        LinkUnreadable, LinkForAnother, LinkNotValid, ResetExpired, ResetUsed, PasswordRefused, CrossSite
    ),
)
async def redeem_reset(doors: TheDoors, data: JSONBody[ResetIn]) -> None:
    await resets.reset_password(doors, code=data.code, new=data.password)


@post(
    "/password",
    permission=PUBLIC,
    guards=[web.require_csrf_header],
    status_code=204,
    summary="Change one's own password; all other sessions end",
    responses=problems(Unauthenticated, WrongPassword, PasswordRefused, TooManyTries, CrossSite),
)
async def change_password(doors: TheDoors, browser: TheBrowser, secret: TheSecret, data: JSONBody[ChangeIn]) -> None:
    await rules.change_password(doors, browser, secret=secret, current=data.current, new=data.new)


router = Router(
    "/identity/v1",
    route_handlers=[ask_reset, redeem_reset, change_password],
    dependencies=web.dependencies(),
    tags=["Passwords"],
)
