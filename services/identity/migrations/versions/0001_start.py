"""The tables that every service has."""

from alembic import op

from libs.common.migrations import common_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(common_tables("identity"))
