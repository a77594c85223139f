"""When members' worker was last heard."""

from libs.common.migrations import execute
from libs.common.roles import share

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    execute(
        "CREATE TABLE beats (service varchar NOT NULL, at timestamptz NOT NULL,"
        " CONSTRAINT pk_beats PRIMARY KEY (service));"
    )
    execute(share("beats", "identity", reason="one row per service, of no tenant; read by the service's name"))
