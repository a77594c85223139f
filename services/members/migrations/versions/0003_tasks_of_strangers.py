"""A task may be about somebody who is no member: whom a provider vouched for while no seat was free."""

from libs.common.migrations import execute

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    execute(
        "ALTER TABLE tasks ALTER COLUMN member_id DROP NOT NULL;"
        "ALTER TABLE tasks ADD COLUMN masked_address varchar;"
        "DROP INDEX uq_tasks_open;"
        "CREATE UNIQUE INDEX uq_tasks_open ON tasks (tenant_id, member_id, kind) NULLS NOT DISTINCT"
        " WHERE closed_at IS NULL;"
    )
