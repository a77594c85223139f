from uuid import UUID

from litestar import Response, Router, post, put
from litestar.params import FromPath, JSONBody

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import NotFound
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from libs.common.text import AddressMalformed
from services.members import refusals
from services.members.access import rules
from services.members.access.limits import InvitationLimitReached
from services.members.access.schemas import InviteIn, ReaddressIn, ReasonIn
from services.members.people.rules import EmailTaken
from services.members.people.schemas import MemberOut, PresetsIn, shown
from services.members.seats.rules import SeatLimitReached

_INVITING = (
    NotFound, refusals.NotPresent, refusals.AlreadyMember, refusals.Blocked, refusals.MayNotGrant,
    SeatLimitReached, InvitationLimitReached,
)  # fmt: skip
_OPENING = (
    NotFound, refusals.NotPresent, refusals.AlreadyMember, refusals.InvitationOpen, refusals.Blocked,
    refusals.HasEmail, rules.LocalAccessOff, SeatLimitReached,
)  # fmt: skip


@post(
    "/invite",
    permission=Permission.MEMBERS_INVITE,
    responses=problems(*_INVITING, refusals.EmailMissing),
    status_code=200,
    summary="Invite, for the first time or again",
)
async def invite(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    member_id: FromPath[UUID],
    data: JSONBody[InviteIn | None] = None,
) -> Response[MemberOut]:
    """A new link and a new deadline; older links are dead. Works while open, expired, declined, bounced or revoked."""
    data = data or InviteIn()
    presets = data.presets.presets() if data.presets else None
    member = await rules.invite(session, actor, member_id, hours=data.invitation_hours, presets=presets)
    return await once.answer(shown(member, actor), headers=etag(member.version))


@post(
    "/readdress",
    permission=Permission.MEMBERS_INVITE,
    responses=problems(*_INVITING, refusals.NotInvited, refusals.IsOwner, EmailTaken, AddressMalformed),
    status_code=200,
    summary="Send an open invitation to another address",
)
async def readdress(
    session: Session, actor: CurrentActor, once: OnceOnly, member_id: FromPath[UUID], data: JSONBody[ReaddressIn]
) -> Response[MemberOut]:
    """Same member, same seat; the link that went to the wrong address is dead."""
    member = await rules.readdress(session, actor, member_id, email=data.email, hours=data.invitation_hours)
    return await once.answer(shown(member, actor), headers=etag(member.version))


@put(
    "/presets",
    permission=Permission.MEMBERS_INVITE,
    responses=problems(NotFound, refusals.NotPresent, refusals.AlreadyMember, refusals.IsOwner, refusals.MayNotGrant),
    summary="What she is given when she accepts",
)
async def edit_presets(
    session: Session,
    actor: CurrentActor,
    member_id: FromPath[UUID],
    data: JSONBody[PresetsIn],
    if_match: IfMatch = None,
) -> Response[MemberOut]:
    version = version_read(if_match)
    member = await rules.edit_presets(session, actor, member_id, data.presets(), version=version)
    return Response(shown(member, actor), headers=etag(member.version))


@post(
    "/local-access",
    permission=Permission.MEMBERS_CREDENTIALS,
    responses=problems(*_OPENING),
    status_code=200,
    summary="Let staff set a first password, for people without e-mail",
)
async def open_local_access(
    session: Session, actor: CurrentActor, once: OnceOnly, member_id: FromPath[UUID]
) -> Response[MemberOut]:
    member = await rules.open_local_access(session, actor, member_id)
    return await once.answer(shown(member, actor), headers=etag(member.version))


@post(
    "/revoke",
    permission=Permission.MEMBERS_REVOKE,
    responses=problems(
        NotFound, refusals.NotPresent, refusals.NoAccess, refusals.IsOwner, refusals.IsSelf, refusals.MayMore
    ),
    status_code=200,
    summary="End invitation or access; she stays in the list",
)
async def revoke(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    member_id: FromPath[UUID],
    data: JSONBody[ReasonIn | None] = None,
) -> Response[MemberOut]:
    member = await rules.revoke(session, actor, member_id, reason=data.reason if data else None)
    return await once.answer(shown(member, actor), headers=etag(member.version))


router = Router(
    "/members/v1/members/{member_id:uuid}",
    route_handlers=[invite, readdress, edit_presets, open_local_access, revoke],
    tags=["Access"],
)
