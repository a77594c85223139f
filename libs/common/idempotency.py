"""Idempotency keys: a POST that creates or sends may be repeated with the same key and takes effect once.

The answer is stored in the transaction of the effect and kept for 24 hours. A second request with the same key waits
for the first (the row is its lock) and gets the first one's answer.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Table
from libs.common.errors import Conflict, Unprocessable
from libs.common.tokens import Actor

KEPT_HOURS = 24

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="repeat a request safely: the same key within 24 hours gets the first answer",
        min_length=1,
        max_length=100,
        pattern=r"^[\x21-\x7e]+$",
    ),
]


class StoredAnswer(Table):
    __tablename__ = "idempotency_keys"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    actor_id: Mapped[UUID] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[bytes]
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None]
    created_at: Mapped[datetime]


class IdempotencyKeyReused(Unprocessable):
    title = "This Idempotency-Key was used with another request; take a new one"


class AlreadyDone(Conflict):
    title = "This was done already; its answer held a secret and is not kept"


class Replayed(Exception):
    def __init__(self, stored: StoredAnswer) -> None:
        self.stored = stored

    def response(self) -> Response[bytes]:
        headers = {**(self.stored.headers or {}), "Idempotent-Replayed": "true"}
        return Response(
            self.stored.body or b"",
            status_code=self.stored.status or 200,
            headers=headers,
            media_type="application/json",
        )


class Once:
    """One request under its key, if it has one: `return await once.answer(struct, 201)` stores what it answers."""

    def __init__(self, session: AsyncSession, row: dict[str, Any] | None) -> None:
        self._session, self._row = session, row

    async def answer[T](
        self, body: T, status_code: int = 200, *, headers: dict[str, str] | None = None, secret: bool = False
    ) -> Response[T]:
        """secret: the body is not stored, and a repeated request is told already_done."""
        if self._row is not None:
            stored = None if secret else msgspec.json.encode(body)
            where = [
                getattr(StoredAnswer, name) == self._row[name] for name in ("tenant_id", "actor_id", "route", "key")
            ]
            values = {"status": status_code, "headers": headers, "body": stored}
            await self._session.execute(update(StoredAnswer).where(*where).values(**values))
        return Response(body, status_code=status_code, headers=headers)


async def provide_once(
    request: Request,
    session: NamedDependency[AsyncSession],
    actor: NamedDependency[Actor],
    idempotency_key: IdempotencyKey = None,
) -> Once:
    """Raises Replayed with the stored answer where the key was used before."""
    if idempotency_key is None:
        return Once(session, None)
    # Another human who holds the same membership now did not make the former's request.
    asked = f"{actor.holder}\0{request.url.query}\0".encode() + await request.body()
    row = {
        "tenant_id": cast(UUID, actor.tenant_id),
        "actor_id": actor.id,
        "route": f"{request.method} {request.url.path}",
        "key": idempotency_key,
        "request_digest": hashlib.sha256(asked).digest(),
    }
    inserted = await session.execute(
        insert(StoredAnswer).values(**row).on_conflict_do_nothing().returning(StoredAnswer.key)
    )
    if inserted.first() is not None:
        return Once(session, row)
    where = [getattr(StoredAnswer, name) == row[name] for name in ("tenant_id", "actor_id", "route", "key")]
    stored = (await session.scalars(select(StoredAnswer).where(*where))).one()
    if stored.request_digest != row["request_digest"]:
        raise IdempotencyKeyReused
    if stored.body is None:
        raise AlreadyDone
    raise Replayed(stored)
