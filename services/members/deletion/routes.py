from uuid import UUID

from litestar import Response, Router, delete, post
from litestar.params import FromPath

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.errors import NotFound
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from services.members import refusals
from services.members.deletion import rules
from services.members.people.schemas import MemberOut, shown
from services.members.seats.rules import SeatLimitReached


@delete(
    "/{member_id:uuid}",
    permission=Permission.MEMBERS_DELETE,
    responses=problems(NotFound, refusals.NotPresent, refusals.IsOwner, refusals.IsSelf, refusals.MayMore),
    status_code=200,
    summary="Mark deleted; the tenant's retention runs",
    tags=["Deletion"],
)
async def mark_deleted(
    session: Session, actor: CurrentActor, member_id: FromPath[UUID], if_match: IfMatch = None
) -> Response[MemberOut]:
    member = await rules.mark_deleted(session, actor, member_id, version=version_read(if_match))
    return Response(shown(member, actor), headers=etag(member.version))


@post(
    "/restore",
    permission=Permission.MEMBERS_DELETE,
    responses=problems(NotFound, refusals.NotMarkedDeleted, SeatLimitReached),
    status_code=200,
    summary="Restore, until the deadline",
)
async def restore(
    session: Session, actor: CurrentActor, once: OnceOnly, member_id: FromPath[UUID]
) -> Response[MemberOut]:
    member = await rules.restore(session, actor, member_id)
    return await once.answer(shown(member, actor), headers=etag(member.version))


# mark_deleted shares its path with people's handlers, and stands in their router.
router = Router("/members/v1/members/{member_id:uuid}", route_handlers=[restore], tags=["Deletion"])
