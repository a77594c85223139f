"""What operators see of mail: how much waits and in which state, per tenant; no address, no body. And the switch."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.params import JSONBody
from sqlalchemy import func, select

from libs.common.app import CurrentActor, problems
from libs.common.auth import AUTHENTICATED
from libs.common.db import PLATFORM, now
from libs.common.events.notifier import MailState
from libs.common.text import Line
from services.notifier.limits import rules
from services.notifier.messages.tables import Message


class SwitchOut(msgspec.Struct):
    """paused_at: null while mail is being sent."""

    paused_at: datetime | None
    paused_by: UUID | None
    reason: str | None


class PauseIn(msgspec.Struct, forbid_unknown_fields=True):
    reason: Line


class StateCount(msgspec.Struct):
    """Of the last 30 days. oldest_due_at: of those that wait, when the first should have gone out."""

    tenant_id: UUID
    state: MailState
    messages: int
    oldest_due_at: datetime | None


@get("/", permission=AUTHENTICATED, operator=True, responses=problems(), summary="Is mail being sent?")
async def read_switch(state: State) -> SwitchOut:
    async with state.operator_database.session(PLATFORM) as session:
        return SwitchOut(*await rules.read_switch(session))


@post(
    "/pause",
    status_code=200,
    permission=AUTHENTICATED,
    operator=True,
    responses=problems(),
    summary="Stop all mail; what is queued waits",
)
async def pause(state: State, actor: CurrentActor, data: JSONBody[PauseIn]) -> Response[SwitchOut]:
    async with state.database.session(PLATFORM) as session:
        await rules.pause(session, actor, reason=data.reason, at=now())
        return Response(SwitchOut(*await rules.read_switch(session)), status_code=200)


@post("/resume", status_code=200, permission=AUTHENTICATED, operator=True, responses=problems(), summary="Send again")
async def resume(state: State, actor: CurrentActor) -> Response[SwitchOut]:
    async with state.database.session(PLATFORM) as session:
        await rules.resume(session, actor)
        return Response(SwitchOut(*await rules.read_switch(session)), status_code=200)


@get(
    "/states",
    permission=AUTHENTICATED,
    operator=True,
    responses=problems(),
    summary="Mails by tenant and state, last 30 days",
)
async def count_states(state: State) -> list[StateCount]:
    recent = func.now() - func.make_interval(0, 0, 0, 30)
    counts = (
        select(Message.tenant_id, Message.state, func.count(), func.min(Message.due_at))
        .where(Message.created_at > recent)
        .group_by(Message.tenant_id, Message.state)
        .order_by(Message.tenant_id, Message.state)
    )
    async with state.operator_database.session(PLATFORM) as session:
        return [StateCount(*row) for row in await session.execute(counts)]


router = Router(
    "/notifier/v1/operator/mail", route_handlers=[read_switch, pause, resume, count_states], tags=["Operators"]
)
