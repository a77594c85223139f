"""The tables that every service has."""

from libs.common.migrations import common_tables, execute

revision = "0001"
down_revision = None


def upgrade() -> None:
    execute(common_tables("identity"))
