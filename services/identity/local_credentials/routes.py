from typing import cast
from uuid import UUID

from litestar import Response, Router, get, put
from litestar.params import FromPath, JSONBody

from libs.common.app import CurrentActor, Session, problems
from libs.common.errors import NotFound, Outdated, VersionRequired
from libs.common.etags import IfMatch, etag, version_read
from libs.common.passwords import PasswordRefused
from libs.common.permissions import Permission
from libs.common.projections import MemberNotKnownYet
from services.identity import web
from services.identity.local_credentials import rules
from services.identity.local_credentials.rules import HasPerson, IsStaff, LocalAccessNotOpen, PasswordsDiffer
from services.identity.local_credentials.schemas import LocalCredentialIn, LocalCredentialOut
from services.identity.local_credentials.tables import LocalCredential
from services.identity.web import TheDoors


@get(
    "/",
    permission=Permission.MEMBERS_CREDENTIALS,
    summary="Whether a password was handed over, and until when it is good",
    responses=problems(NotFound, MemberNotKnownYet),
)
async def read_credential(
    session: Session, actor: CurrentActor, member_id: FromPath[UUID]
) -> Response[LocalCredentialOut]:
    return _out(await rules.get_credential(session, cast(UUID, actor.tenant_id), member_id))


@put(
    "/",
    permission=Permission.MEMBERS_CREDENTIALS,
    summary="Set a password for somebody without e-mail",
    responses=problems(
        NotFound,
        MemberNotKnownYet,
        HasPerson,
        IsStaff,
        PasswordsDiffer,
        PasswordRefused,
        LocalAccessNotOpen,
        Outdated,
        VersionRequired,
    ),
)
async def set_credential(
    session: Session,
    actor: CurrentActor,
    doors: TheDoors,
    member_id: FromPath[UUID],
    data: JSONBody[LocalCredentialIn],
    if_match: IfMatch = None,
) -> Response[LocalCredentialOut]:
    version, tenant_id = version_read(if_match), cast(UUID, actor.tenant_id)
    password_hash = await rules.hash_password(
        session, doors.passwords, tenant_id, member_id, data.password, data.password_again
    )
    return _out(
        await rules.set_password(session, actor, tenant_id, member_id, password_hash=password_hash, version=version)
    )


router = Router(
    "/identity/v1/members/{member_id:uuid}/local-credential",
    route_handlers=[read_credential, set_credential],
    dependencies=web.dependencies(),
    tags=["Local credentials"],
)


def _out(found: LocalCredential | None) -> Response[LocalCredentialOut]:
    if found is None:
        return Response(LocalCredentialOut(False, False, None, None), headers=etag(0))
    out = LocalCredentialOut(True, found.must_change, found.set_at, found.expires_at)
    return Response(out, headers=etag(found.version))
