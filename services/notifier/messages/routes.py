from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import Forbidden, Malformed, NotFound, TooMany
from libs.common.events.notifier import MailState
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from libs.common.text import Address, AddressMalformed
from services.notifier.messages import log, resending
from services.notifier.messages.log import MessageFilter
from services.notifier.messages.schemas import MessageDetailOut, MessageOut, ResentOut, Shown
from services.notifier.templates.catalog import Name

Limit = Annotated[int, QueryParameter(ge=1, le=200)]
States = Annotated[list[MailState] | None, QueryParameter(name="state", description="any of these")]
Moment = Annotated[datetime, Meta(tz=True)]

_RESENDING = (
    resending.LinkDead,
    resending.AddressChanged,
    resending.AddressSuppressed,
    resending.StillOnItsWay,
    resending.GetsNoMail,
    TooMany,
)


async def provide_filter(
    member_id: FromQuery[UUID | None] = None,
    email: FromQuery[Address | None] = None,
    template: FromQuery[Name | None] = None,
    states: States = None,
    cause_id: FromQuery[UUID | None] = None,
    created_from: FromQuery[Moment | None] = None,
    created_to: FromQuery[Moment | None] = None,
) -> MessageFilter:
    return MessageFilter(
        member_id=member_id,
        email=email,
        template=template,
        state=states or [],
        cause_id=cause_id,
        created_from=created_from,
        created_to=created_to,
    )


@get(
    "/",
    permission=Permission.MAIL_READ,
    dependencies={"filter": Provide(provide_filter)},
    responses=problems(Malformed, Forbidden, AddressMalformed),
    summary="The mail log, newest first",
)
async def list_messages(
    session: Session,
    actor: CurrentActor,
    filter: NamedDependency[MessageFilter],
    cursor: FromQuery[str | None] = None,
    limit: Limit = 50,
) -> Page[MessageOut]:
    name = filter.name()
    after = decode_cursor(name, cursor, UUID)[0] if cursor else None
    rows = await log.list_messages(session, actor, filter, after=after, limit=limit + 1)
    shown = Shown(actor)
    return page(name, rows, limit, out=lambda row: shown.message(*row), keys=lambda row: (str(row[0].id),))


@get(
    "/{message_id:uuid}",
    permission=Permission.MAIL_READ,
    responses=problems(NotFound),
    summary="One mail: its attempts, reports and copies, and its body as it was sent",
)
async def read_message(session: Session, actor: CurrentActor, message_id: FromPath[UUID]) -> MessageDetailOut:
    message, body, attempts, reports, copies = await log.read_message(session, message_id)
    shown = Shown(actor)
    return MessageDetailOut(
        **msgspec.structs.asdict(shown.message(message, attempts[-1] if attempts else None)),
        attempts=[shown.attempt(one) for one in attempts],
        reports=[shown.report(one) for one in reports],
        copies=list(copies),
        body=shown.body(message, body),
    )


@post(
    "/{message_id:uuid}/resend",
    permission=Permission.MAIL_RESEND,
    responses=problems(NotFound, *_RESENDING),
    summary="Send the same mail again, with the same link",
)
async def resend_message(
    session: Session, actor: CurrentActor, once: OnceOnly, message_id: FromPath[UUID]
) -> Response[MessageOut]:
    copy = await resending.resend(session, actor, message_id)
    return await once.answer(Shown(actor).message(copy, None), 201)


class ResendIn(msgspec.Struct, forbid_unknown_fields=True):
    """Either ids, or a filter: then the oldest that it finds and that have no copy yet, up to 200 a call."""

    ids: Annotated[list[UUID], Meta(max_length=200)] = []
    filter: MessageFilter | None = None


class ResentManyOut(msgspec.Struct):
    items: list[ResentOut]


@post(
    "/resend",
    permission=Permission.MAIL_RESEND,
    status_code=200,
    responses=problems(Malformed, AddressMalformed, Forbidden),
    summary="Send many again, such as what a broken relay has left behind",
)
async def resend_messages(
    session: Session, actor: CurrentActor, once: OnceOnly, data: JSONBody[ResendIn]
) -> Response[ResentManyOut]:
    if bool(data.ids) == (data.filter is not None):
        raise Malformed(field="ids", message="give ids or a filter")
    done = await resending.resend_many(session, actor, ids=data.ids, filter=data.filter, limit=200)
    items = [
        ResentOut(one.message_id, one.copy.id if one.copy else None, one.error.code() if one.error else None)
        for one in done
    ]
    return await once.answer(ResentManyOut(items), 200)


router = Router(
    "/notifier/v1/messages",
    route_handlers=[list_messages, read_message, resend_message, resend_messages],
    tags=["Mail log"],
)
