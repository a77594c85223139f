"""Tenants, members with every fact about them, tasks, jobs."""

from libs.common.migrations import execute
from libs.common.roles import isolate, reveal, share

revision = "0002"
down_revision = "0001"

_TENANTS = """
CREATE TABLE tenants (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT ck_tenants_own_row CHECK (id = tenant_id),
    created_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL,
    slug varchar NOT NULL,
    name varchar NOT NULL,
    locale varchar NOT NULL,
    time_zone varchar NOT NULL,
    colour varchar,
    imprint_url varchar,
    privacy_url varchar,
    invitation_hours integer NOT NULL
        CONSTRAINT ck_tenants_invitation_hours CHECK (invitation_hours BETWEEN 1 AND 2160),
    invite_on_create boolean NOT NULL,
    email_required boolean NOT NULL,
    renewal_allowed boolean NOT NULL,
    local_access boolean NOT NULL,
    reactivation_hours integer NOT NULL,
    retention_days integer NOT NULL CONSTRAINT ck_tenants_retention_days CHECK (retention_days BETWEEN 0 AND 400),
    state varchar NOT NULL CONSTRAINT ck_tenants_state CHECK (state IN ('open', 'closed')),
    mail_class varchar NOT NULL CONSTRAINT ck_tenants_mail_class CHECK (mail_class IN ('new', 'normal', 'trusted')),
    seat_limit integer NOT NULL CONSTRAINT ck_tenants_seat_limit CHECK (seat_limit >= 0),
    seats_used integer NOT NULL CONSTRAINT ck_tenants_seats_used CHECK (seats_used >= 0),
    seats_reserved integer NOT NULL CONSTRAINT ck_tenants_seats_reserved CHECK (seats_reserved >= 0),
    CONSTRAINT pk_tenants PRIMARY KEY (tenant_id, id)
);
CREATE TABLE tenant_routes (
    slug varchar NOT NULL,
    tenant_id uuid NOT NULL,
    CONSTRAINT pk_tenant_routes PRIMARY KEY (slug)
);
"""

_MEMBERS = """
CREATE TABLE members (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL,
    login_name varchar NOT NULL,
    login_key varchar,
    display_name varchar NOT NULL,
    name_key varchar COLLATE "C" NOT NULL,
    email varchar,
    email_key varchar,
    phone varchar,
    locale varchar,
    profile_version integer NOT NULL,
    life varchar NOT NULL CONSTRAINT ck_members_life
        CHECK (life IN ('present', 'marked_deleted', 'erasing', 'anonymised', 'erased')),
    deleted_until timestamptz,
    access varchar NOT NULL CONSTRAINT ck_members_access
        CHECK (access IN ('none', 'invited', 'expired', 'declined', 'active', 'revoked')),
    locked boolean NOT NULL,
    locked_until timestamptz,
    lock_reason varchar,
    deactivated boolean NOT NULL,
    outside varchar CONSTRAINT ck_members_outside CHECK (outside IN ('before', 'after', 'no_seat')),
    starts_at timestamptz,
    ends_at timestamptz,
    reactivated_at timestamptz,
    login_due_at timestamptz,
    access_version integer NOT NULL,
    generation integer NOT NULL,
    epoch integer NOT NULL,
    cut integer NOT NULL,
    way varchar NOT NULL CONSTRAINT ck_members_way CHECK (way IN ('mail', 'sso', 'local')),
    invited_at timestamptz,
    deadline timestamptz,
    preset_roles varchar[] NOT NULL,
    preset_permission_groups varchar[] NOT NULL,
    preset_groups varchar[] NOT NULL,
    preset_tags varchar[] NOT NULL,
    granted_by uuid,
    granted_rights varchar[] NOT NULL,
    first_owner boolean NOT NULL,
    sso_key varchar,
    roles varchar[] NOT NULL,
    permission_groups varchar[] NOT NULL,
    roles_av integer NOT NULL,
    holder integer NOT NULL,
    last_login_at timestamptz NOT NULL,
    mail_state varchar,
    mail_reason varchar,
    mail_at timestamptz,
    "column" varchar NOT NULL CONSTRAINT ck_members_column CHECK ("column" IN (
        'added', 'invited', 'active', 'locked', 'inactive', 'revoked', 'marked_deleted', 'anonymised', 'erased')),
    guidance varchar NOT NULL,
    guidance_until timestamptz,
    due_at timestamptz,
    CONSTRAINT pk_members PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_members_tenant_id_login_key UNIQUE (tenant_id, login_key),
    CONSTRAINT uq_members_tenant_id_email_key UNIQUE (tenant_id, email_key),
    CONSTRAINT uq_members_tenant_id_sso_key UNIQUE (tenant_id, sso_key),
    CONSTRAINT ck_members_names_held CHECK (login_key IS NOT NULL OR life IN ('anonymised', 'erased')),
    CONSTRAINT ck_members_lock_end CHECK (locked OR locked_until IS NULL)
);
CREATE INDEX ix_members_by_name ON members (tenant_id, "column", name_key, id);
CREATE INDEX ix_members_by_last_login ON members (tenant_id, "column", last_login_at, id);
CREATE INDEX ix_members_by_created ON members (tenant_id, "column", created_at, id);
CREATE INDEX ix_members_due ON members (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE member_tokens (
    tenant_id uuid NOT NULL,
    token varchar COLLATE "C" NOT NULL,
    member_id uuid NOT NULL,
    contact boolean NOT NULL,
    CONSTRAINT pk_member_tokens PRIMARY KEY (tenant_id, token, member_id, contact),
    CONSTRAINT fk_member_tokens_tenant_id_member_id FOREIGN KEY (tenant_id, member_id)
        REFERENCES members (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ix_member_tokens_member_id ON member_tokens (tenant_id, member_id);
CREATE TABLE invited_addresses (
    tenant_id uuid NOT NULL,
    digest bytea NOT NULL,
    invited_at timestamptz NOT NULL,
    CONSTRAINT pk_invited_addresses PRIMARY KEY (tenant_id, digest)
);
CREATE INDEX ix_invited_addresses_invited_at ON invited_addresses (tenant_id, invited_at);
CREATE TABLE tasks (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    kind varchar NOT NULL,
    member_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    closed_at timestamptz,
    closed_by uuid,
    CONSTRAINT pk_tasks PRIMARY KEY (tenant_id, id),
    CONSTRAINT fk_tasks_tenant_id_member_id FOREIGN KEY (tenant_id, member_id)
        REFERENCES members (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX uq_tasks_open ON tasks (tenant_id, member_id, kind) WHERE closed_at IS NULL;
CREATE INDEX ix_tasks_open ON tasks (tenant_id, id) WHERE closed_at IS NULL;
"""

_JOBS = """
CREATE TABLE jobs (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    command varchar NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_jobs_state
        CHECK (state IN ('running', 'withdrawing', 'withdrawn', 'done', 'stopped')),
    arguments jsonb NOT NULL,
    actor jsonb NOT NULL,
    total integer NOT NULL,
    due_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT pk_jobs PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE job_items (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    position integer NOT NULL,
    member_id uuid NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_job_items_state
        CHECK (state IN ('waiting', 'queued_by_limit', 'done', 'refused', 'withdrawn')),
    code varchar,
    generation integer,
    done_at timestamptz,
    CONSTRAINT pk_job_items PRIMARY KEY (tenant_id, job_id, position),
    CONSTRAINT fk_job_items_tenant_id_job_id FOREIGN KEY (tenant_id, job_id)
        REFERENCES jobs (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ix_job_items_state ON job_items (tenant_id, job_id, state, position);
"""

_SEEN_BY_OPERATORS = (
    "tenant_id", "id", "created_at", "version", "slug", "name", "locale", "time_zone", "state", "mail_class",
    "seat_limit", "seats_used", "seats_reserved",
)  # fmt: skip


def upgrade() -> None:
    execute(_TENANTS + _MEMBERS + _JOBS)
    tenant_tables = ("tenants", "members", "member_tokens", "invited_addresses", "tasks", "jobs", "job_items")
    execute("".join(isolate(table, "members") for table in tenant_tables))
    execute(
        share("tenant_routes", "members", reason="a slug leads to one tenant of the whole installation; read by it")
    )
    execute(reveal("tenants", "members", "operator", *_SEEN_BY_OPERATORS))
    execute(reveal("members", "members", "sweep", "tenant_id", "id", "due_at"))
    execute(reveal("jobs", "members", "sweep", "tenant_id", "id", "due_at"))
