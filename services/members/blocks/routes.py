from uuid import UUID

from litestar import Response, Router, post, put
from litestar.params import FromPath, JSONBody

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import NotFound
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from services.members import refusals
from services.members.access.schemas import ReasonIn
from services.members.blocks import rules
from services.members.blocks.schemas import DatesIn, LockIn
from services.members.moments import in_utc
from services.members.people.rules import DatesReversed
from services.members.people.schemas import MemberOut, shown
from services.members.seats.rules import SeatLimitReached

_COMMON = (NotFound, refusals.NotPresent, refusals.MayMore)


@post(
    "/lock",
    permission=Permission.MEMBERS_LOCK,
    responses=problems(*_COMMON, refusals.IsOwner, refusals.IsSelf, rules.NotInFuture),
    status_code=200,
    summary="Lock until a time or for good",
)
async def lock(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    member_id: FromPath[UUID],
    data: JSONBody[LockIn | None] = None,
) -> Response[MemberOut]:
    """Sessions and keys end at once; her seat stays hers."""
    data = data or LockIn()
    member = await rules.lock(session, actor, member_id, until=in_utc(data.until, "until"), reason=data.reason)
    return await once.answer(shown(member, actor), headers=etag(member.version))


@post(
    "/unlock",
    permission=Permission.MEMBERS_LOCK,
    responses=problems(*_COMMON, refusals.NotLocked),
    status_code=200,
    summary="Unlock",
)
async def unlock(
    session: Session, actor: CurrentActor, once: OnceOnly, member_id: FromPath[UUID]
) -> Response[MemberOut]:
    member = await rules.unlock(session, actor, member_id)
    return await once.answer(shown(member, actor), headers=etag(member.version))


@post(
    "/deactivate",
    permission=Permission.MEMBERS_DEACTIVATE,
    responses=problems(*_COMMON, refusals.AlreadyDeactivated, refusals.IsOwner, refusals.IsSelf),
    status_code=200,
    summary="Deactivate: data stays, the seat is free",
)
async def deactivate(
    session: Session,
    actor: CurrentActor,
    once: OnceOnly,
    member_id: FromPath[UUID],
    data: JSONBody[ReasonIn | None] = None,
) -> Response[MemberOut]:
    member = await rules.deactivate(session, actor, member_id, reason=data.reason if data else None)
    return await once.answer(shown(member, actor), headers=etag(member.version))


@post(
    "/reactivate",
    permission=Permission.MEMBERS_DEACTIVATE,
    responses=problems(*_COMMON, refusals.NotDeactivated, SeatLimitReached),
    status_code=200,
    summary="Reactivate; she has to sign in within the tenant's window",
)
async def reactivate(
    session: Session, actor: CurrentActor, once: OnceOnly, member_id: FromPath[UUID]
) -> Response[MemberOut]:
    member = await rules.reactivate(session, actor, member_id)
    return await once.answer(shown(member, actor), headers=etag(member.version))


@put(
    "/dates",
    permission=Permission.MEMBERS_WRITE,
    responses=problems(*_COMMON, DatesReversed, refusals.IsOwner, refusals.IsSelf, SeatLimitReached),
    summary="Set entry and expiry",
)
async def set_dates(
    session: Session, actor: CurrentActor, member_id: FromPath[UUID], data: JSONBody[DatesIn], if_match: IfMatch = None
) -> Response[MemberOut]:
    member = await rules.set_dates(
        session,
        actor,
        member_id,
        starts_at=in_utc(data.starts_at, "starts_at"),
        ends_at=in_utc(data.ends_at, "ends_at"),
        version=version_read(if_match),
    )
    return Response(shown(member, actor), headers=etag(member.version))


router = Router(
    "/members/v1/members/{member_id:uuid}",
    route_handlers=[lock, unlock, deactivate, reactivate, set_dates],
    tags=["Blocks and dates"],
)
