"""Connections to tenants' own identity providers, whom their subjects are, sign-ins under way, and grants by a source
that has several.
"""

from libs.common.migrations import execute
from libs.common.roles import isolate

revision = "0004"
down_revision = "0003"

_TABLES = """
CREATE TABLE connections (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL,
    name varchar NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_connections_state CHECK (state IN ('draft', 'enabled', 'disabled')),
    issuer varchar NOT NULL,
    client_id varchar NOT NULL,
    client_secret bytea NOT NULL,
    scopes jsonb NOT NULL,
    admission varchar NOT NULL
        CONSTRAINT ck_connections_admission CHECK (admission IN ('off', 'invited', 'automatic')),
    provider jsonb,
    discovered_at timestamptz,
    keys jsonb,
    keys_at timestamptz,
    mapping jsonb NOT NULL,
    mapped_by uuid,
    mapping_rights jsonb NOT NULL,
    CONSTRAINT pk_connections PRIMARY KEY (tenant_id, id)
);
CREATE TABLE connection_subjects (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    connection_id uuid NOT NULL,
    subject varchar NOT NULL,
    member_id uuid NOT NULL,
    holder integer NOT NULL,
    seen_at timestamptz,
    CONSTRAINT pk_connection_subjects PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_connection_subjects_tenant_id_connection_id_subject UNIQUE (tenant_id, connection_id, subject),
    CONSTRAINT fk_connection_subjects_tenant_id_connection_id FOREIGN KEY (tenant_id, connection_id)
        REFERENCES connections (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT fk_connection_subjects_tenant_id_member_id FOREIGN KEY (tenant_id, member_id)
        REFERENCES memberships (tenant_id, id)
);
CREATE INDEX ix_connection_subjects_member_id ON connection_subjects (tenant_id, member_id);
CREATE TABLE connection_attempts (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    connection_id uuid NOT NULL,
    state_digest bytea NOT NULL,
    browser_digest bytea NOT NULL,
    purpose varchar NOT NULL
        CONSTRAINT ck_connection_attempts_purpose CHECK (purpose IN ('sign_in', 'test', 'connect')),
    member_id uuid,
    deadline timestamptz NOT NULL,
    used_at timestamptz,
    outcome varchar,
    details jsonb,
    CONSTRAINT pk_connection_attempts PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_connection_attempts_tenant_id_state_digest UNIQUE (tenant_id, state_digest),
    CONSTRAINT fk_connection_attempts_tenant_id_connection_id FOREIGN KEY (tenant_id, connection_id)
        REFERENCES connections (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ix_connection_attempts_connection_id ON connection_attempts (tenant_id, connection_id, created_at);
CREATE TABLE connection_sessions (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    connection_id uuid NOT NULL,
    subject varchar NOT NULL,
    provider_session varchar,
    id_token bytea NOT NULL,
    CONSTRAINT pk_connection_sessions PRIMARY KEY (tenant_id, id),
    CONSTRAINT fk_connection_sessions_tenant_id_connection_id FOREIGN KEY (tenant_id, connection_id)
        REFERENCES connections (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT fk_connection_sessions_id FOREIGN KEY (id) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE INDEX ix_connection_sessions_id ON connection_sessions (id);
CREATE INDEX ix_connection_sessions_subject ON connection_sessions (tenant_id, connection_id, subject);
"""

# The same role may come from two connections: each takes back only its own.
_GRANTS = """
ALTER TABLE grants ADD COLUMN connection_id uuid;
ALTER TABLE grants DROP CONSTRAINT uq_grants_tenant_id_member_id_kind_name_source;
ALTER TABLE grants ADD CONSTRAINT uq_grants_tenant_id_member_id_kind_name_source_connection_id
    UNIQUE NULLS NOT DISTINCT (tenant_id, member_id, kind, name, source, connection_id);
"""


def upgrade() -> None:
    execute(_TABLES)
    for table in ("connections", "connection_subjects", "connection_attempts", "connection_sessions"):
        execute(isolate(table, "identity"))
    execute(_GRANTS)
