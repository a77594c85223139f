from typing import Annotated, Literal

import msgspec
from litestar import Response, Router, delete, get, patch, put
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from libs.common.app import CurrentActor, Session, problems
from libs.common.errors import Malformed, NotFound, Outdated, VersionRequired
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from libs.common.text import Address, AddressMalformed, Line
from services.notifier.address_book.matrix import FIXED, MATRIX, Cell, Column, cell
from services.notifier.mail_settings import rules
from services.notifier.mail_settings.tables import MailSettings
from services.notifier.templates.catalog import Category

_VERSIONED = (Malformed, Outdated, VersionRequired)
Colour = Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}$(?!\n)")]
Matrix = dict[Category, dict[Column, Cell]]


class SettingsPatch(msgspec.Struct, forbid_unknown_fields=True):
    """matrix: the cells that differ from the product's, all of them."""

    sender_name: Line | UnsetType | None = UNSET
    reply_to: Address | UnsetType | None = UNSET
    colour: Colour | UnsetType | None = UNSET
    matrix: Matrix | UnsetType = UNSET


class LogoIn(msgspec.Struct, forbid_unknown_fields=True):
    """data: base64."""

    type: Literal["image/png", "image/jpeg"]
    data: Annotated[bytes, Meta(max_length=rules.LARGEST_LOGO)]


class SettingsOut(msgspec.Struct):
    """sender_address: the one that all mail comes from, to be put on a recipient's whitelist (D-33).

    matrix: which mail a state still gets, as it is in force; fixed columns cannot be changed.
    """

    sender_address: str
    sender_name: str | None
    reply_to: str | None
    colour: str | None
    has_logo: bool
    matrix: Matrix
    fixed_columns: list[Column]


@get(
    "/",
    permission=Permission.MAIL_READ,
    responses=problems(),
    summary="How this tenant's mails look, and who gets which",
)
async def read_settings(session: Session, state: State) -> Response[SettingsOut]:
    return _answer(await rules.find_settings(session), state)


@patch(
    "/",
    permission=Permission.MAIL_SETTINGS,
    responses=problems(*_VERSIONED, rules.SenderNameNotPlain, rules.CellFixed, AddressMalformed),
    summary="Change what is given",
)
async def edit_settings(
    session: Session, actor: CurrentActor, state: State, data: JSONBody[SettingsPatch], if_match: IfMatch = None
) -> Response[SettingsOut]:
    changed = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
    return _answer(await rules.edit_settings(session, actor, changed, version=version_read(if_match)), state)


@put(
    "/logo",
    permission=Permission.MAIL_SETTINGS,
    responses=problems(*_VERSIONED, rules.LogoNotAPicture),
    summary="The picture at the top of every mail",
)
async def set_logo(
    session: Session, actor: CurrentActor, state: State, data: JSONBody[LogoIn], if_match: IfMatch = None
) -> Response[SettingsOut]:
    version = version_read(if_match)
    return _answer(await rules.set_logo(session, actor, type=data.type, data=data.data, version=version), state)


@delete(
    "/logo", permission=Permission.MAIL_SETTINGS, responses=problems(*_VERSIONED), status_code=200, summary="No picture"
)
async def remove_logo(
    session: Session, actor: CurrentActor, state: State, if_match: IfMatch = None
) -> Response[SettingsOut]:
    return _answer(await rules.remove_logo(session, actor, version=version_read(if_match)), state)


@get(
    "/logo",
    permission=Permission.MAIL_READ,
    responses=problems(NotFound),
    media_type="image/png",
    summary="The picture",
)
async def read_logo(session: Session) -> Response[bytes]:
    logo = await rules.get_logo(session)
    return Response(logo.data, media_type=logo.type, headers={"Content-Disposition": "attachment"})


router = Router(
    "/notifier/v1/settings",
    route_handlers=[read_settings, edit_settings, set_logo, remove_logo, read_logo],
    tags=["Mail settings"],
)


def _answer(settings: MailSettings | None, state: State) -> Response[SettingsOut]:
    overrides = rules.overrides(settings)
    matrix = {
        category: {column: cell(overrides, category, column) for column in columns}
        for category, columns in MATRIX.items()
    }
    out = SettingsOut(
        sender_address=state.settings.mail_from,
        sender_name=settings.sender_name if settings else None,
        reply_to=settings.reply_to if settings else None,
        colour=settings.colour if settings else None,
        has_logo=bool(settings and settings.logo_id),
        matrix=msgspec.convert(matrix, Matrix),
        fixed_columns=sorted(FIXED),
    )
    return Response(out, headers=etag(settings.version if settings else 0))
