"""The base of notifier's tables; each feature has its own in <feature>/tables.py."""

from typing import cast
from uuid import UUID

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common import db


class Table(db.Table):
    __abstract__ = True

    metadata = MetaData(naming_convention=db.NAMING)


def tenant_of(session: AsyncSession) -> UUID:
    """The tenant that the session's transaction is in."""
    return cast(UUID, session.info["tenant_id"])
