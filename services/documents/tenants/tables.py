from sqlalchemy import BigInteger, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Versioned
from services.documents.tables import Table


class Policy(Versioned, Table):
    """One a tenant; id is the tenant's own. Without a row the defaults of rules.py hold."""

    __tablename__ = "policies"

    max_file_bytes: Mapped[int] = mapped_column(BigInteger)
    tenant_quota_bytes: Mapped[int] = mapped_column(BigInteger)
    uploader_quota_bytes: Mapped[int] = mapped_column(BigInteger)
    forbidden_types: Mapped[list[str]] = mapped_column(ARRAY(String))
    own_types: Mapped[list[str]] = mapped_column(ARRAY(String))
    visibilities: Mapped[list[str]] = mapped_column(ARRAY(String))
    bin_days: Mapped[int]
