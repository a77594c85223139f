from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.auth import AUTHENTICATED
from libs.common.errors import Malformed, NotFound
from libs.common.events.notifier import MailState
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from libs.common.projections import MemberNotKnownYet
from libs.common.text import Line, Text
from services.notifier.direct_messages import rules
from services.notifier.direct_messages.rules import Contact, Written

Limit = Annotated[int, QueryParameter(ge=1, le=200)]


class DirectMessageIn(msgspec.Struct, forbid_unknown_fields=True):
    subject: Line
    text: Text


class DirectMessageOut(msgspec.Struct):
    """message_id: in the mail log. state: of that mail; null where the log has forgotten it."""

    id: UUID
    created_at: datetime
    author_id: UUID
    subject: str
    text: str
    message_id: UUID
    state: MailState | None


class OwnMessageOut(msgspec.Struct):
    id: UUID
    created_at: datetime
    author_id: UUID
    subject: str
    text: str


@get(
    "/members/{member_id:uuid}/direct-messages/way",
    permission=Permission.MESSAGES_WRITE,
    responses=problems(NotFound),
    summary="How the member would be contacted",
)
async def read_way(session: Session, member_id: FromPath[UUID]) -> Contact:
    return await rules.find_contact(session, member_id)


@get(
    "/members/{member_id:uuid}/direct-messages",
    permission=Permission.MESSAGES_WRITE,
    responses=problems(NotFound, Malformed),
    summary="What was written to the member, newest first",
)
async def list_direct_messages(
    session: Session, member_id: FromPath[UUID], cursor: FromQuery[str | None] = None, limit: Limit = 50
) -> Page[DirectMessageOut]:
    name = f"direct-messages:{member_id}"
    after = decode_cursor(name, cursor, UUID)[0] if cursor else None
    rows = await rules.list_of_member(session, member_id, after=after, limit=limit + 1)
    return page(name, rows, limit, out=_out, keys=lambda row: (str(row[0].id),))


@post(
    "/members/{member_id:uuid}/direct-messages",
    permission=Permission.MESSAGES_WRITE,
    responses=problems(NotFound, rules.CannotBeReached, MemberNotKnownYet),
    summary="Write to the member",
)
async def write_direct_message(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    member_id: FromPath[UUID],
    data: JSONBody[DirectMessageIn],
) -> Response[DirectMessageOut]:
    written = await rules.write(session, actor, member_id=member_id, subject=data.subject, text=data.text)
    return await once.answer(_out((written, None)), 201)


@get(
    "/direct-messages",
    permission=AUTHENTICATED,
    responses=problems(Malformed),
    summary="What was written to me, newest first",
)
async def list_own_messages(
    session: Session, actor: CurrentActor, cursor: FromQuery[str | None] = None, limit: Limit = 50
) -> Page[OwnMessageOut]:
    after = decode_cursor("own-direct-messages", cursor, UUID)[0] if cursor else None
    rows = await rules.list_own(session, actor, after=after, limit=limit + 1)
    return page("own-direct-messages", rows, limit, out=_own, keys=lambda row: (str(row[0].id),))


router = Router(
    "/notifier/v1",
    route_handlers=[read_way, list_direct_messages, write_direct_message, list_own_messages],
    tags=["Direct messages"],
)


def _out(row: Written) -> DirectMessageOut:
    written, mail = row
    return DirectMessageOut(
        id=written.id,
        created_at=written.created_at,
        author_id=written.author_id,
        subject=written.subject,
        text=written.text,
        message_id=written.message_id,
        state=mail.state if mail else None,
    )


def _own(row: Written) -> OwnMessageOut:
    written, _ = row
    return OwnMessageOut(written.id, written.created_at, written.author_id, written.subject, text=written.text)
