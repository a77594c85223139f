from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import Forbidden, Malformed, NotFound
from libs.common.etags import IfMatch, etag, version_read
from libs.common.events.notifier import MailState
from libs.common.pages import Page
from libs.common.permissions import Permission
from libs.common.text import AddressMalformed, Line
from services.members.access import rules as access
from services.members.access.limits import InvitationLimitReached
from services.members.deletion.routes import mark_deleted
from services.members.facts import Access, Column, GuidanceCode
from services.members.moments import Moment, in_utc
from services.members.people import rules
from services.members.people.listing import MemberFilter, Sort, list_page
from services.members.people.schemas import MemberIn, MemberOut, MemberPatch, shown, shown_row
from services.members.refusals import AlreadyMember, Blocked, EmailMissing, InvitationOpen, MayNotGrant, NotPresent
from services.members.seats.rules import SeatLimitReached

_ADDING = (
    rules.LoginNameTaken, rules.EmailTaken, AlreadyMember, rules.EmailRequired, rules.DatesReversed, AddressMalformed,
    EmailMissing, Blocked, MayNotGrant, SeatLimitReached, InvitationLimitReached,
)  # fmt: skip
_EDITING = (
    NotFound, NotPresent, rules.LoginNameTaken, rules.EmailTaken, AlreadyMember, rules.EmailRequired, InvitationOpen,
    AddressMalformed, MayNotGrant, Forbidden,
)  # fmt: skip

Limit = Annotated[int, QueryParameter(ge=1, le=200)]


async def provide_filter(
    column: FromQuery[list[Column] | None] = None,
    access: FromQuery[list[Access] | None] = None,
    guidance: FromQuery[list[GuidanceCode] | None] = None,
    mail_state: FromQuery[list[MailState] | None] = None,
    text: FromQuery[Line | None] = None,
    email: FromQuery[Line | None] = None,
    login_name: FromQuery[Line | None] = None,
    last_login_from: FromQuery[Moment | None] = None,
    last_login_to: FromQuery[Moment | None] = None,
    never_signed_in: FromQuery[bool | None] = None,
) -> MemberFilter:
    """The list's grammar as query parameters; bulk commands take the same as JSON. Raises Malformed."""
    given = {name: value for name, value in locals().items() if value is not None}
    try:
        return msgspec.convert(given, MemberFilter)
    except msgspec.ValidationError as error:
        raise Malformed(field=str(error).rpartition("$.")[2].rstrip("`"), message=str(error)) from error


@get(
    "/",
    permission=Permission.MEMBERS_READ,
    dependencies={"filter": Provide(provide_filter)},
    responses=problems(Malformed, AddressMalformed, Forbidden),
    summary="List members",
)
async def list_members(
    state: State,
    actor: CurrentActor,
    filter: NamedDependency[MemberFilter],
    sort: FromQuery[Sort] = "name",
    cursor: FromQuery[str | None] = None,
    limit: Limit = 50,
) -> Page[MemberOut]:
    rows, further = await list_page(state.database, actor, filter, sort=sort, cursor=cursor, limit=limit)
    return Page([shown_row(row, actor) for row in rows], further)


@post(
    "/",
    permission=Permission.MEMBERS_WRITE,
    responses=problems(*_ADDING),
    summary="Add a member, and invite her where asked for",
)
async def add_member(
    session: Session, actor: CurrentActor, once: OnceOnly, data: JSONBody[MemberIn]
) -> Response[MemberOut]:
    if (data.invite or data.presets) and Permission.MEMBERS_INVITE not in actor.rights:
        raise Forbidden(permission=Permission.MEMBERS_INVITE)
    member = await access.add(
        session,
        actor,
        rules.Profile(
            login_name=data.login_name,
            display_name=data.display_name,
            email=data.email,
            phone=data.phone,
            locale=data.locale,
        ),
        starts_at=in_utc(data.starts_at, "starts_at"),
        ends_at=in_utc(data.ends_at, "ends_at"),
        presets=data.presets.presets() if data.presets else None,
        invite=data.invite,
        hours=data.invitation_hours,
    )
    return await once.answer(shown(member, actor), 201, headers=etag(member.version))


@get("/{member_id:uuid}", permission=Permission.MEMBERS_READ, responses=problems(NotFound), summary="One member")
async def read_member(session: Session, actor: CurrentActor, member_id: FromPath[UUID]) -> Response[MemberOut]:
    member = await rules.get_member(session, member_id)
    return Response(shown(member, actor), headers=etag(member.version))


@patch(
    "/{member_id:uuid}",
    permission=Permission.MEMBERS_WRITE,
    responses=problems(*_EDITING),
    summary="Edit a member's profile",
)
async def edit_member(
    session: Session,
    actor: CurrentActor,
    member_id: FromPath[UUID],
    data: JSONBody[MemberPatch],
    if_match: IfMatch = None,
) -> Response[MemberOut]:
    changed = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
    member = await rules.edit_member(session, actor, member_id, changed, version=version_read(if_match))
    return Response(shown(member, actor), headers=etag(member.version))


router = Router(
    "/members/v1/members",
    route_handlers=[list_members, add_member, read_member, edit_member, mark_deleted],
    tags=["Members"],
)
