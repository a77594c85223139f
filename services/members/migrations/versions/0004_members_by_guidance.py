"""The few among many who need somebody to act are found by an index of their own, in the order of names."""

from libs.common.migrations import execute

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    execute(
        "CREATE INDEX ix_members_by_guidance ON members (tenant_id, guidance, name_key, id)"
        " WHERE guidance IN ('fix_email', 'invite_again', 'wait_for_entry', 'buy_seat');"
    )
