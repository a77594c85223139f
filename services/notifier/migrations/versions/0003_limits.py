"""How often one address is invited, over all tenants; and the switch that stops all mail."""

from libs.common.migrations import execute
from libs.common.roles import reveal, share

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    execute("""
CREATE TABLE recipient_counts (
    digest bytea NOT NULL,
    invited_at timestamptz[] NOT NULL,
    CONSTRAINT pk_recipient_counts PRIMARY KEY (digest)
);
CREATE TABLE mail_switch (
    id integer NOT NULL DEFAULT 1 CONSTRAINT ck_mail_switch_one CHECK (id = 1),
    paused_at timestamptz,
    paused_by uuid,
    reason varchar,
    CONSTRAINT pk_mail_switch PRIMARY KEY (id)
);
INSERT INTO mail_switch (id) VALUES (1);
""")
    execute(share("recipient_counts", "notifier", reason="an address is one person's in every tenant; digests only"))
    execute(share("mail_switch", "notifier", reason="one row, for the whole installation"))
    execute("REVOKE INSERT, DELETE ON mail_switch FROM notifier_app")
    execute("GRANT SELECT ON mail_switch TO notifier_sweep, notifier_operator")
    execute(reveal("attempts", "notifier", "operator", "tenant_id", "id", "created_at", "outcome", "code", "host"))
