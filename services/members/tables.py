"""The base of members' tables; each feature has its own in <feature>/tables.py."""

from typing import Any

from sqlalchemy import MetaData

from libs.common import db


class Table(db.Table):
    __abstract__ = True

    metadata = MetaData(naming_convention=db.NAMING)

    def __init__(self, **values: Any) -> None:
        """Defaults are there from the start, not only after the flush: rules reckon with them."""
        for column in self.__table__.columns:
            if column.default is not None and column.key not in values:
                default = column.default.arg
                values[column.key] = default({}) if callable(default) else default
        super().__init__(**values)
