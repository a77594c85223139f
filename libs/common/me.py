"""GET /{service}/v1/me: who the caller is, as this service reads the token."""

from uuid import UUID

import msgspec
from litestar import Router, get

from libs.common.app import CurrentActor
from libs.common.auth import AUTHENTICATED


class MeOut(msgspec.Struct):
    kind: str
    id: UUID
    tenant_id: UUID | None
    session_id: str
    holder: int
    rights: list[str]


@get("/", permission=AUTHENTICATED, summary="Who am I, as this service sees it")
async def read_me(actor: CurrentActor) -> MeOut:
    return MeOut(actor.kind, actor.id, actor.tenant_id, actor.session_id, actor.holder, sorted(actor.rights))


def router(service: str) -> Router:
    return Router(f"/{service}/v1/me", route_handlers=[read_me], tags=["Me"])
