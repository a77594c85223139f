from typing import cast
from uuid import UUID

from litestar import Response, Router, get, put
from litestar.params import FromPath, JSONBody

from libs.common.app import CurrentActor, Session, problems
from libs.common.errors import NotFound, Outdated, VersionRequired
from libs.common.etags import IfMatch, etag, version_read
from libs.common.permissions import Permission
from libs.common.projections import MemberNotKnownYet
from services.identity.roles import explain, rules
from services.identity.roles.rules import LastOwner, MayNotGrant, NotActive, OwnersOnly
from services.identity.roles.schemas import AccessOut, GrantOut, RolesIn, RolesOut
from services.identity.roles.tables import Grant


@get(
    "/{member_id:uuid}/roles",
    permission=Permission.ROLES_READ,
    summary="What a member is, and where each role comes from",
    responses=problems(NotFound, MemberNotKnownYet),
)
async def read_roles(session: Session, actor: CurrentActor, member_id: FromPath[UUID]) -> Response[RolesOut]:
    membership, held = await rules.read_roles(session, cast(UUID, actor.tenant_id), member_id)
    return Response(_roles(held), headers=etag(membership.av))


@put(
    "/{member_id:uuid}/roles",
    permission=Permission.ROLES_WRITE,
    summary="Give and take roles and permission groups by hand",
    responses=problems(
        NotFound, MemberNotKnownYet, NotActive, MayNotGrant, OwnersOnly, LastOwner, Outdated, VersionRequired
    ),
)
async def set_roles(
    session: Session,
    actor: CurrentActor,
    member_id: FromPath[UUID],
    data: JSONBody[RolesIn],
    if_match: IfMatch = None,
) -> Response[RolesOut]:
    membership, held = await rules.set_roles(
        session,
        actor,
        cast(UUID, actor.tenant_id),
        member_id,
        roles=set(data.roles),
        groups=set(data.permission_groups),
        version=version_read(if_match),
    )
    return Response(_roles(held), headers=etag(membership.av))


@get(
    "/{member_id:uuid}/access/explain",
    permission=Permission.ROLES_READ,
    summary="Why a member may do what she may, and why she cannot sign in",
    responses=problems(NotFound, MemberNotKnownYet),
)
async def explain_access(session: Session, actor: CurrentActor, member_id: FromPath[UUID]) -> AccessOut:
    found = await explain.explain_access(session, cast(UUID, actor.tenant_id), member_id)
    return AccessOut(
        state=found.membership.state,
        barred_by=found.barred_by,
        blocked=found.membership.blocked,
        starts_at=found.membership.starts_at,
        ends_at=found.membership.ends_at,
        credential=found.credential,
        grants=[_grant(one) for one in found.grants],
        rights=found.rights,
    )


router = Router(
    "/identity/v1/members", route_handlers=[read_roles, set_roles, explain_access], tags=["Roles and access"]
)


def _roles(held: list[Grant]) -> RolesOut:
    names = rules.names_of(held)
    return RolesOut(["member", *names.roles], names.permission_groups, [_grant(one) for one in held])


def _grant(one: Grant) -> GrantOut:
    return GrantOut(one.kind, one.name, one.source, one.granted_by, one.created_at, one.ends_at, one.connection_id)
