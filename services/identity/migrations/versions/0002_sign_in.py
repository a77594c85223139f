"""Tenants, memberships, invitations, persons, credentials, sessions, tokens, grants, operators."""

from libs.common.migrations import execute
from libs.common.roles import isolate, reveal, share

revision = "0002"
down_revision = "0001"

_TENANT_TABLES = """
CREATE TABLE tenants (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL,
    slug varchar NOT NULL,
    display_name varchar NOT NULL,
    locale varchar NOT NULL,
    time_zone varchar NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_tenants_state CHECK (state IN ('open', 'closed')),
    colour varchar,
    imprint_url varchar,
    privacy_url varchar,
    first_owner_id uuid,
    CONSTRAINT pk_tenants PRIMARY KEY (tenant_id, id)
);
CREATE TABLE memberships (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    access_version bigint NOT NULL,
    epoch integer NOT NULL,
    cut integer NOT NULL,
    want varchar NOT NULL CONSTRAINT ck_memberships_want CHECK (want IN ('nothing', 'invited', 'gone')),
    way varchar NOT NULL CONSTRAINT ck_memberships_way CHECK (way IN ('mail', 'sso', 'local')),
    blocked jsonb NOT NULL,
    locked_until timestamptz,
    starts_at timestamptz,
    ends_at timestamptz,
    login_name varchar NOT NULL,
    login_key varchar NOT NULL,
    display_name varchar NOT NULL,
    email varchar,
    email_key varchar,
    locale varchar,
    preset_roles jsonb NOT NULL,
    preset_groups jsonb NOT NULL,
    preset_rights jsonb NOT NULL,
    presets_by uuid,
    first_owner boolean NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_memberships_state CHECK (state IN ('none', 'active', 'gone')),
    generation integer NOT NULL,
    person_id uuid,
    holder integer NOT NULL,
    held_by varchar,
    av integer NOT NULL,
    CONSTRAINT pk_memberships PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_memberships_login_key ON memberships (tenant_id, login_key);
CREATE INDEX ix_memberships_email_key ON memberships (tenant_id, email_key);
CREATE TABLE invitations (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    member_id uuid NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_invitations_state CHECK (state IN ('open', 'ended')),
    epoch integer NOT NULL,
    generation integer NOT NULL,
    email_key varchar,
    deadline timestamptz NOT NULL,
    renewal_asked integer NOT NULL,
    CONSTRAINT pk_invitations PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_invitations_tenant_id_member_id UNIQUE (tenant_id, member_id),
    CONSTRAINT fk_invitations_tenant_id_member_id FOREIGN KEY (tenant_id, member_id)
        REFERENCES memberships (tenant_id, id)
);
CREATE UNIQUE INDEX uq_invitations_open_email ON invitations (tenant_id, email_key) WHERE state = 'open';
CREATE INDEX ix_invitations_deadline ON invitations (deadline) WHERE state = 'open';
CREATE TABLE invitation_generations (
    tenant_id uuid NOT NULL,
    invitation_id uuid NOT NULL,
    generation integer NOT NULL,
    epoch integer NOT NULL,
    address varchar NOT NULL,
    deadline timestamptz NOT NULL,
    ended varchar CONSTRAINT ck_invitation_generations_ended
        CHECK (ended IN ('accepted', 'expired', 'declined', 'replaced', 'revoked')),
    ended_at timestamptz,
    CONSTRAINT pk_invitation_generations PRIMARY KEY (tenant_id, invitation_id, generation),
    CONSTRAINT fk_invitation_generations_tenant_id_invitation_id
        FOREIGN KEY (tenant_id, invitation_id) REFERENCES invitations (tenant_id, id)
);
CREATE TABLE grants (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    member_id uuid NOT NULL,
    kind varchar NOT NULL CONSTRAINT ck_grants_kind CHECK (kind IN ('role', 'permission_group')),
    name varchar NOT NULL,
    source varchar NOT NULL CONSTRAINT ck_grants_source
        CHECK (source IN ('manual', 'invitation', 'permission_group', 'sso', 'scim')),
    granted_by uuid,
    ends_at timestamptz,
    CONSTRAINT pk_grants PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_grants_tenant_id_member_id_kind_name_source UNIQUE (tenant_id, member_id, kind, name, source),
    CONSTRAINT fk_grants_tenant_id_member_id FOREIGN KEY (tenant_id, member_id) REFERENCES memberships (tenant_id, id)
);
CREATE TABLE local_credentials (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL,
    password_hash varchar NOT NULL,
    must_change boolean NOT NULL,
    expires_at timestamptz,
    set_by uuid NOT NULL,
    set_at timestamptz NOT NULL,
    CONSTRAINT pk_local_credentials PRIMARY KEY (tenant_id, id),
    CONSTRAINT fk_local_credentials_tenant_id_id FOREIGN KEY (tenant_id, id) REFERENCES memberships (tenant_id, id)
);
CREATE TABLE reset_requests (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    typed varchar NOT NULL,
    CONSTRAINT pk_reset_requests PRIMARY KEY (tenant_id, id)
);
"""

_GLOBAL_TABLES = """
CREATE TABLE tenant_routes (
    slug varchar NOT NULL,
    tenant_id uuid NOT NULL,
    CONSTRAINT pk_tenant_routes PRIMARY KEY (slug)
);
CREATE TABLE persons (
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    display_name varchar NOT NULL,
    locale varchar NOT NULL,
    password_hash varchar,
    reset_generation integer NOT NULL,
    CONSTRAINT pk_persons PRIMARY KEY (id)
);
CREATE TABLE person_addresses (
    address_key varchar NOT NULL,
    address varchar NOT NULL,
    person_id uuid NOT NULL,
    verified_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_person_addresses PRIMARY KEY (address_key)
);
CREATE INDEX ix_person_addresses_person_id ON person_addresses (person_id);
CREATE TABLE person_memberships (
    person_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    member_id uuid NOT NULL,
    CONSTRAINT pk_person_memberships PRIMARY KEY (person_id, tenant_id)
);
CREATE TABLE password_resets (
    person_id uuid NOT NULL,
    generation integer NOT NULL,
    address varchar NOT NULL,
    slug varchar,
    deadline timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT pk_password_resets PRIMARY KEY (person_id, generation),
    CONSTRAINT fk_password_resets_person_id FOREIGN KEY (person_id) REFERENCES persons (id) ON DELETE CASCADE
);
CREATE TABLE sessions (
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    secret_digest bytea NOT NULL,
    person_id uuid,
    amr jsonb NOT NULL,
    signed_in_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    must_change boolean NOT NULL,
    agent varchar NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT uq_sessions_secret_digest UNIQUE (secret_digest)
);
CREATE INDEX ix_sessions_person_id ON sessions (person_id);
CREATE TABLE session_memberships (
    session_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    member_id uuid NOT NULL,
    epoch integer NOT NULL,
    cut integer NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_session_memberships PRIMARY KEY (session_id, tenant_id),
    CONSTRAINT fk_session_memberships_session_id FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE INDEX ix_session_memberships_member_id ON session_memberships (member_id);
CREATE TABLE refresh_families (
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    session_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    newest integer NOT NULL,
    CONSTRAINT pk_refresh_families PRIMARY KEY (id),
    CONSTRAINT fk_refresh_families_session_id_tenant_id FOREIGN KEY (session_id, tenant_id)
        REFERENCES session_memberships (session_id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX ix_refresh_families_session_id ON refresh_families (session_id);
CREATE TABLE refresh_tokens (
    digest bytea NOT NULL,
    family_id uuid NOT NULL,
    place integer NOT NULL,
    used_at timestamptz,
    salt bytea,
    CONSTRAINT pk_refresh_tokens PRIMARY KEY (digest),
    CONSTRAINT fk_refresh_tokens_family_id FOREIGN KEY (family_id) REFERENCES refresh_families (id) ON DELETE CASCADE
);
CREATE INDEX ix_refresh_tokens_family_id ON refresh_tokens (family_id);
CREATE TABLE operators (
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    address varchar NOT NULL,
    address_key varchar NOT NULL,
    password_hash varchar NOT NULL,
    must_change boolean NOT NULL,
    totp_secret bytea NOT NULL,
    totp_step bigint NOT NULL,
    CONSTRAINT pk_operators PRIMARY KEY (id),
    CONSTRAINT uq_operators_address_key UNIQUE (address_key)
);
CREATE TABLE operator_sessions (
    id uuid NOT NULL DEFAULT uuidv7(),
    secret_digest bytea NOT NULL,
    operator_id uuid NOT NULL,
    signed_in_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    CONSTRAINT pk_operator_sessions PRIMARY KEY (id),
    CONSTRAINT uq_operator_sessions_secret_digest UNIQUE (secret_digest),
    CONSTRAINT fk_operator_sessions_operator_id FOREIGN KEY (operator_id) REFERENCES operators (id) ON DELETE CASCADE
);
CREATE INDEX ix_operator_sessions_operator_id ON operator_sessions (operator_id);
CREATE TABLE attempts (
    digest bytea NOT NULL,
    count integer NOT NULL,
    last_at timestamptz NOT NULL,
    wait_until timestamptz NOT NULL,
    CONSTRAINT pk_attempts PRIMARY KEY (digest)
);
CREATE TABLE known_devices (
    digest bytea NOT NULL,
    last_at timestamptz NOT NULL,
    CONSTRAINT pk_known_devices PRIMARY KEY (digest)
);
"""

_SHARED = {
    "tenant_routes": "leads from a slug in a path to its tenant, before anybody has signed in",
    "persons": "a human signs in to many tenants with one credential",
    "person_addresses": "leads from a canonical address to its person, at sign-in",
    "person_memberships": "leads from a person to the tenants that she may sign in to",
    "password_resets": "belongs to a person; found by person and generation",
    "sessions": "one sign-in may open several tenants; found by the digest of its cookie",
    "session_memberships": "says which tenants a sign-in has opened; found by session or by member",
    "refresh_families": "belongs to a session, which is no tenant's; found by id",
    "refresh_tokens": "found by the digest of what a client presents, before its tenant is known",
    "operators": "operators belong to the installation; found by address or id",
    "operator_sessions": "a sign-in of an operator; found by the digest of its secret",
    "attempts": "counts by digest, before anybody knows whose account it is, if any",
    "known_devices": "a digest of account and browser; read before a sign-in",
}


def upgrade() -> None:
    execute(_TENANT_TABLES)
    for table in (
        "tenants",
        "memberships",
        "invitations",
        "invitation_generations",
        "grants",
        "local_credentials",
        "reset_requests",
    ):
        execute(isolate(table, "identity"))
    execute(reveal("invitations", "identity", "sweep", "tenant_id", "id", "state", "deadline"))
    execute(reveal("reset_requests", "identity", "sweep", "tenant_id", "id", "created_at"))
    execute(_GLOBAL_TABLES)
    for table, reason in _SHARED.items():
        execute(share(table, "identity", reason=reason))
