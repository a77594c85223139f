"""One service's PostgreSQL: sessions that carry the tenant, and tables that row level security keeps apart.

A session is one transaction and belongs to one tenant; without a tenant it sees no tenant's row at all.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ARRAY, ColumnElement, DateTime, MetaData, any_, func, literal
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, declared_attr, mapped_column

from libs.common.errors import AppError
from libs.common.failpoints import failpoint

PLATFORM = UUID(int=0)
"""Tenant zero: owns what belongs to no tenant (person-level audit, mail and events)."""

_SET_TENANT = "SELECT set_config('app.tenant_id', $1, true)"
_SET_PATIENCE = f"{_SET_TENANT}, set_config('lock_timeout', $2, true)"

NAMING = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Table(DeclarativeBase):
    """Base of all tables. Each service derives an abstract base of its own with its own metadata."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012


class TenantRow:
    """Columns of every row that belongs to a tenant. tenant_id leads every key, so that no link can cross tenants."""

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Versioned(TenantRow):
    """A row that people edit. Its version is its ETag; rules raise it for edited fields, never for derived columns."""

    version: Mapped[int] = mapped_column(default=1)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, object]:  # noqa: N805
        return {"version_id_col": cls.version, "version_id_generator": False}


def now() -> datetime:
    return datetime.now(UTC)


def among(column: InstrumentedAttribute[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """`column IN values`, in one text however many there are: it is compiled and prepared once."""
    return column == any_(literal(list(values), ARRAY(column.type)))


def open_engine(url: str, **options: Any) -> AsyncEngine:
    """On asyncpg. What an error says of a statement leaves out its values: they are people's."""
    return create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), hide_parameters=True, **options)


async def use_tenant(session: AsyncSession, tenant_id: UUID, patience: str | None = None) -> None:
    """Put the rest of the transaction into this tenant: for doors where the tenant is found on the way (a link).

    patience: how long a lock is waited for, where that differs from the role's (`200ms`).
    """
    connection = await session.connection()
    if patience is None:
        await connection.exec_driver_sql(_SET_TENANT, (str(tenant_id),))
    else:
        await connection.exec_driver_sql(_SET_PATIENCE, (str(tenant_id), patience))
    session.info["tenant_id"] = tenant_id


class Database:
    """Pools for one database role. `committed` is called after each commit that left events (the relay's wake hint)."""

    def __init__(self, url: str, *, pool_size: int = 10, committed: Callable[[], None] | None = None) -> None:
        self.engine = open_engine(url, pool_size=pool_size, max_overflow=0, pool_timeout=5)
        self.committed = committed
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._hot: asyncpg.Pool | None = None

    @asynccontextmanager
    async def session(
        self, tenant_id: UUID, *, keep: bool = True, patience: str | None = None
    ) -> AsyncIterator[AsyncSession]:
        """One transaction in one tenant: commits at the end, and on an error that is to be kept, unless `keep` is
        False; else rolls back. patience: as in use_tenant.
        """
        async with self._sessions() as session:
            await self._begin(session, tenant_id, patience)
            try:
                yield session
            except BaseException as error:
                if keep and isinstance(error, AppError) and error.keep:
                    await self._commit(session)
                else:
                    await session.rollback()
                raise
            await self._commit(session)

    async def read(self, tenant_id: UUID, sql: str, *args: object) -> Sequence[Any]:
        """A hot read: one select on the driver, beside SQLAlchemy, which costs four to five times as much on small
        pages. Row level security holds as everywhere: the tenant is set in the same transaction.
        """
        pool = await self._hot_pool()
        async with pool.acquire() as connection:
            # One round trip for both; a UUID cannot carry SQL.
            await connection.execute(
                f"BEGIN READ ONLY; SELECT set_config('app.tenant_id', '{UUID(str(tenant_id))}', true)"
            )
            try:
                rows: Sequence[Any] = await connection.fetch(sql, *args)
            finally:
                await connection.execute("COMMIT")
            return rows

    async def ping(self) -> None:
        """Raises when the database does not answer."""
        async with self.engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def close(self) -> None:
        if self._hot is not None:
            await self._hot.close()
        await self.engine.dispose()

    async def _begin(self, session: AsyncSession, tenant_id: UUID, patience: str | None) -> None:
        """The first statement tells whether a pooled connection has died meanwhile; nothing is lost by a second try."""
        try:
            await use_tenant(session, tenant_id, patience)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            await session.rollback()
            await use_tenant(session, tenant_id, patience)

    async def _commit(self, session: AsyncSession) -> None:
        failpoint("after_record_before_commit")
        await session.commit()
        failpoint("after_commit_before_answer")
        if self.committed is not None and session.info.get("recorded"):
            self.committed()

    async def _hot_pool(self) -> asyncpg.Pool:
        if self._hot is None:
            plain = self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            self._hot = await asyncpg.create_pool(plain, min_size=1, max_size=10, reset=_no_reset)
        return self._hot


async def _no_reset(_: object) -> None:
    """Nothing outlives a transaction here, so that asyncpg's reset query would be a wasted round trip."""
