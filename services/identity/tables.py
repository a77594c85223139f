"""The base of identity's tables; each feature has its own in <feature>/tables.py."""

from sqlalchemy import MetaData

from libs.common import db


class Table(db.Table):
    __abstract__ = True

    metadata = MetaData(naming_convention=db.NAMING)
