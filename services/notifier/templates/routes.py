from typing import Annotated, Literal

from litestar import Response, Router, delete, get, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, PathParameter, QueryParameter

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import Malformed, NotFound, Outdated, VersionRequired
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from services.notifier.strings import LOCALES, words
from services.notifier.templates import rules
from services.notifier.templates.catalog import KINDS, shipped
from services.notifier.templates.language import TemplateInvalid
from services.notifier.templates.preview import CallerHasNoAddress, Preview, preview, send_test
from services.notifier.templates.schemas import KindOut, Locale, TestSentOut, TextIn, VersionOut, shown

# Those that have a text of their own; the test mail shows another's.
Template = Literal[
    "invitation", "password_reset", "password_changed", "access_removed", "deletion_marked", "member_erased",
    "direct_message",
]  # fmt: skip
Number = Annotated[int, PathParameter(ge=1, le=1_000_000)]
ShippedToo = Annotated[int, PathParameter(ge=0, le=1_000_000, description="0: the text that the product brings")]
AnyNumber = Annotated[int, QueryParameter(ge=0, le=1_000_000)]

_TEXT = "/{template:str}/{locale:str}"
_VERSIONS = f"{_TEXT}/versions"
_VERSION = f"{_VERSIONS}/{{number:int}}"
_WRITING = (TemplateInvalid, rules.TemplateFixed)
_DRAFT = (NotFound, rules.VersionPublished, Malformed, Outdated, VersionRequired)


@get("/", permission=Permission.MAIL_READ, responses=problems(), summary="Every kind of mail, in every language")
async def list_templates(session: Session) -> list[KindOut]:
    in_use = await rules.numbers_in_use(session)
    return [
        KindOut(
            template=name,
            locale=locale,
            title=words(locale)[f"template.{name}"],
            category=kind.category,
            variables=dict(kind.variables),
            required=list(kind.required),
            subject_variables=list(kind.in_subject),
            own_text=kind.own_text,
            number=in_use.get((name, locale), rules.SHIPPED),
        )
        for name, kind in KINDS.items()
        if name in Template.__args__  # type: ignore[attr-defined]
        for locale in LOCALES
    ]


@get(_VERSIONS, permission=Permission.MAIL_READ, responses=problems(), summary="All versions of a text, newest first")
async def list_versions(session: Session, template: FromPath[Template], locale: FromPath[Locale]) -> list[VersionOut]:
    own = [shown(version) for version in await rules.list_versions(session, template, locale)]
    return [*own, _shipped(template, locale)]


@get(_VERSION, permission=Permission.MAIL_READ, responses=problems(NotFound), summary="One version")
async def read_version(
    session: Session, template: FromPath[Template], locale: FromPath[Locale], number: ShippedToo
) -> Response[VersionOut]:
    if number == rules.SHIPPED:
        return Response(_shipped(template, locale), headers=etag(0))
    version = await rules.get_version(session, template, locale, number)
    return Response(shown(version), headers=etag(version.version))


@post(_VERSIONS, permission=Permission.MAIL_SETTINGS, responses=problems(*_WRITING), summary="A new draft")
async def draft_version(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    template: FromPath[Template],
    locale: FromPath[Locale],
    data: JSONBody[TextIn],
) -> Response[VersionOut]:
    version = await rules.draft(session, actor, kind=template, locale=locale, text=data.text())
    return await once.answer(shown(version), 201, headers=etag(version.version))


@put(_VERSION, permission=Permission.MAIL_SETTINGS, responses=problems(*_DRAFT, *_WRITING), summary="Rewrite a draft")
async def edit_draft(
    session: Session,
    actor: CurrentActor,
    template: FromPath[Template],
    locale: FromPath[Locale],
    number: Number,
    data: JSONBody[TextIn],
    if_match: IfMatch = None,
) -> Response[VersionOut]:
    version = await rules.edit_draft(
        session,
        actor,
        kind=template,
        locale=locale,
        number=number,
        text=data.text(),
        version=version_read(if_match),
    )
    return Response(shown(version), headers=etag(version.version))


@delete(_VERSION, permission=Permission.MAIL_SETTINGS, responses=problems(*_DRAFT), summary="Throw a draft away")
async def discard_draft(
    session: Session,
    actor: CurrentActor,
    template: FromPath[Template],
    locale: FromPath[Locale],
    number: Number,
    if_match: IfMatch = None,
) -> None:
    version = version_read(if_match)
    await rules.discard_draft(session, actor, kind=template, locale=locale, number=number, version=version)


@post(
    f"{_VERSION}/publish",
    status_code=200,
    permission=Permission.MAIL_SETTINGS,
    responses=problems(NotFound, *_WRITING),
    summary="Use this version from now on; an older one to roll back, 0 for the text that the product brings",
)
async def publish_version(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    template: FromPath[Template],
    locale: FromPath[Locale],
    number: ShippedToo,
) -> Response[VersionOut]:
    if number == rules.SHIPPED:
        await rules.publish_shipped(session, actor, kind=template, locale=locale)
        return await once.answer(_shipped(template, locale), 200)
    version = await rules.publish(session, actor, kind=template, locale=locale, number=number)
    return await once.answer(shown(version), 200, headers=etag(version.version))


@get(
    f"{_VERSIONS}/compare",
    permission=Permission.MAIL_READ,
    responses=problems(NotFound),
    summary="What differs between two versions",
)
async def compare_versions(
    session: Session, template: FromPath[Template], locale: FromPath[Locale], old: AnyNumber, new: AnyNumber
) -> rules.Compared:
    return await rules.compare(session, kind=template, locale=locale, old=old, new=new)


@get(
    f"{_VERSION}/preview",
    permission=Permission.MAIL_READ,
    responses=problems(NotFound),
    summary="A version as its reader would see it, with sample data",
)
async def preview_version(
    session: Session, state: State, template: FromPath[Template], locale: FromPath[Locale], number: ShippedToo
) -> Preview:
    source = await rules.get_source(session, template, locale, number)
    return await preview(session, kind=template, locale=locale, source=source, **_house(state))


@post(
    f"{_TEXT}/preview",
    permission=Permission.MAIL_SETTINGS,
    responses=problems(*_WRITING),
    status_code=200,
    summary="A text that is not saved yet, as its reader would see it",
)
async def preview_text(
    session: Session, state: State, template: FromPath[Template], locale: FromPath[Locale], data: JSONBody[TextIn]
) -> Preview:
    text = data.text()
    rules.require_text(KINDS[template], text)
    return await preview(session, kind=template, locale=locale, source=text.source(), **_house(state))


@post(
    f"{_VERSION}/test",
    status_code=202,
    permission=Permission.MAIL_SETTINGS,
    responses=problems(NotFound, CallerHasNoAddress),
    summary="Mail this version to myself",
)
async def test_version(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    state: State,
    template: FromPath[Template],
    locale: FromPath[Locale],
    number: ShippedToo,
) -> Response[TestSentOut]:
    source = await rules.get_source(session, template, locale, number)
    message = await send_test(session, actor, kind=template, locale=locale, source=source, **_house(state))
    return await once.answer(TestSentOut(message.id), 202)


router = Router(
    "/notifier/v1/templates",
    route_handlers=[
        list_templates,
        list_versions,
        read_version,
        draft_version,
        edit_draft,
        discard_draft,
        publish_version,
        compare_versions,
        preview_version,
        preview_text,
        test_version,
    ],
    tags=["Templates"],
)


def _shipped(template: Template, locale: Locale) -> VersionOut:
    text = shipped(template, locale)
    return VersionOut(
        template, locale, rules.SHIPPED, "shipped", text.subject, text.body, action_label=text.action_label
    )


def _house(state: State) -> dict[str, str]:
    return {"public_url": state.settings.public_url, "sender": state.settings.mail_from}
