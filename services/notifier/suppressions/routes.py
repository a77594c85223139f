import csv
import io
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from libs.common.app import CurrentActor, OnceOnly, Session, problems
from libs.common.db import Database
from libs.common.errors import Forbidden, Malformed, NotFound
from libs.common.pages import Page, decode_cursor, page
from libs.common.permissions import Permission
from libs.common.text import Address, AddressMalformed
from libs.common.tokens import Actor
from services.notifier.suppressions import rules
from services.notifier.suppressions.schemas import LiftedOut, SuppressionIn, SuppressionOut, shown
from services.notifier.tables import tenant_of

Limit = Annotated[int, QueryParameter(ge=1, le=200)]


@get(
    "/",
    permission=Permission.MAIL_READ,
    responses=problems(Malformed, Forbidden, AddressMalformed),
    summary="Addresses that no mail goes to, newest first",
)
async def list_suppressions(
    session: Session,
    actor: CurrentActor,
    email: FromQuery[Address | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: Limit = 50,
) -> Page[SuppressionOut]:
    after = decode_cursor("suppressions", cursor, UUID)[0] if cursor else None
    rows = await rules.list_suppressions(session, actor, email=email, after=after, limit=limit + 1)
    return page("suppressions", rows, limit, out=lambda row: shown(row, actor), keys=lambda row: (str(row.id),))


@post(
    "/",
    permission=Permission.MAIL_RESEND,
    responses=problems(rules.AlreadySuppressed, AddressMalformed),
    summary="Put an address on the list by hand",
)
async def add_suppression(
    session: Session, actor: CurrentActor, once: OnceOnly, data: JSONBody[SuppressionIn]
) -> Response[SuppressionOut]:
    made = await rules.suppress(session, actor, email=data.email, detail=data.detail)
    return await once.answer(shown(made, actor), 201)


@post(
    "/{suppression_id:uuid}/lift",
    status_code=200,
    permission=Permission.MAIL_RESEND,
    responses=problems(NotFound),
    summary="Take an address off the list and send what was held for it",
)
async def lift_suppression(
    session: Session, actor: CurrentActor, once: OnceOnly, suppression_id: FromPath[UUID]
) -> Response[LiftedOut]:
    return await once.answer(LiftedOut(await rules.lift(session, actor, suppression_id)), 200)


@get(
    "/export",
    permission=Permission.MAIL_READ,
    responses=problems(),
    summary="The whole list as CSV",
    media_type="text/csv",
)
async def export_suppressions(session: Session, state: State, actor: CurrentActor) -> Stream:
    rules.note_export(session, actor)
    disposition = {"Content-Disposition": 'attachment; filename="suppressions.csv"'}
    return Stream(
        _rows(state.database, actor, tenant_of(session)), media_type="text/csv; charset=utf-8", headers=disposition
    )


async def _rows(database: Database, actor: Actor, tenant_id: UUID) -> AsyncIterator[str]:
    """Its own session: the request's is over before the first row goes out."""
    yield _line("email", "reason", "detail", "since", "until")
    async with database.session(tenant_id) as session:
        after: UUID | None = None
        while rows := await rules.list_suppressions(session, actor, email=None, after=after, limit=500):
            for row in rows:
                out = shown(row, actor)
                yield _line(out.email, out.reason, out.detail, out.created_at.isoformat(), out.expires_at.isoformat())
            after = rows[-1].id


def _line(*cells: str) -> str:
    """A spreadsheet takes no cell for a formula (OWASP, CSV injection)."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(
        f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell for cell in cells
    )
    return text.getvalue()


router = Router(
    "/notifier/v1/suppressions",
    route_handlers=[list_suppressions, add_suppression, lift_suppression, export_suppressions],
    tags=["Suppressions"],
)
