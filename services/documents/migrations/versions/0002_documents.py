"""Documents, uploads, and what is known of people and tenants."""

from libs.common.migrations import execute
from libs.common.roles import isolate, reveal

revision = "0002"
down_revision = "0001"

_VISIBILITIES = "visibility IN ('private', 'own_or_admin', 'staff', 'subject', 'group')"
_KINDS = "kind IN ('file', 'certificate', 'record')"

_ROW = """
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
"""

_TABLES = f"""
CREATE TABLE members ({_ROW}
    life varchar NOT NULL,
    profile_version bigint NOT NULL,
    access_version bigint NOT NULL,
    wanted boolean NOT NULL,
    av bigint NOT NULL,
    active boolean NOT NULL,
    holder integer NOT NULL,
    CONSTRAINT pk_members PRIMARY KEY (tenant_id, id)
);
CREATE TABLE group_members (
    tenant_id uuid NOT NULL,
    group_id uuid NOT NULL,
    member_id uuid NOT NULL,
    version bigint NOT NULL,
    inside boolean NOT NULL,
    CONSTRAINT pk_group_members PRIMARY KEY (tenant_id, group_id, member_id)
);
CREATE TABLE policies ({_ROW}
    version integer NOT NULL,
    max_file_bytes bigint NOT NULL,
    tenant_quota_bytes bigint NOT NULL,
    uploader_quota_bytes bigint NOT NULL,
    forbidden_types varchar[] NOT NULL,
    own_types varchar[] NOT NULL,
    visibilities varchar[] NOT NULL,
    bin_days integer NOT NULL,
    CONSTRAINT pk_policies PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_policies_one CHECK (id = tenant_id)
);
CREATE TABLE documents ({_ROW}
    version integer NOT NULL,
    member_id uuid NOT NULL,
    member_holder integer NOT NULL,
    uploader_id uuid NOT NULL,
    uploader_holder integer NOT NULL,
    visibility varchar NOT NULL CONSTRAINT ck_documents_visibility CHECK ({_VISIBILITIES}),
    group_id uuid CONSTRAINT ck_documents_group CHECK ((group_id IS NOT NULL) = (visibility = 'group')),
    kind varchar NOT NULL CONSTRAINT ck_documents_kind CHECK ({_KINDS}),
    name varchar NOT NULL,
    description varchar,
    tags varchar[] NOT NULL,
    words varchar NOT NULL,
    valid_until date,
    content_type varchar NOT NULL,
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    object_id uuid NOT NULL,
    deleted_at timestamptz,
    purge_at timestamptz,
    lost_at timestamptz,
    CONSTRAINT pk_documents PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_documents_tenant_id_object_id UNIQUE (tenant_id, object_id)
);
CREATE INDEX ix_documents_about ON documents (tenant_id, member_id, created_at, id);
CREATE INDEX ix_documents_uploader ON documents (tenant_id, uploader_id, created_at, id);
CREATE INDEX ix_documents_purge ON documents (purge_at) WHERE purge_at IS NOT NULL;
CREATE TABLE uploads ({_ROW}
    state varchar NOT NULL
        CONSTRAINT ck_uploads_state CHECK (state IN ('open', 'checking', 'quarantined', 'refused', 'done')),
    reason varchar NOT NULL,
    request_key varchar,
    uploader_id uuid NOT NULL,
    uploader_holder integer NOT NULL,
    member_id uuid NOT NULL,
    visibility varchar NOT NULL CONSTRAINT ck_uploads_visibility CHECK ({_VISIBILITIES}),
    group_id uuid,
    kind varchar NOT NULL CONSTRAINT ck_uploads_kind CHECK ({_KINDS}),
    name varchar NOT NULL,
    description varchar,
    tags varchar[] NOT NULL,
    valid_until date,
    only_types varchar[],
    size bigint,
    sha256 bytea,
    object_id uuid,
    multipart_id varchar,
    due_at timestamptz NOT NULL,
    CONSTRAINT pk_uploads PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_uploads_tenant_id_uploader_id_request_key UNIQUE (tenant_id, uploader_id, request_key)
);
CREATE INDEX ix_uploads_uploader ON uploads (tenant_id, uploader_id, id);
CREATE INDEX ix_uploads_due ON uploads (due_at);
CREATE TABLE openings ({_ROW}
    version integer NOT NULL,
    member_id uuid NOT NULL,
    opened_by uuid NOT NULL,
    holder integer NOT NULL,
    reason varchar NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT pk_openings PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_openings_member ON openings (tenant_id, member_id, opened_by, until);
CREATE TABLE hand_overs ({_ROW}
    version integer NOT NULL,
    member_id uuid NOT NULL,
    holder integer NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_hand_overs_state CHECK (state IN ('asked', 'settled', 'withdrawn')),
    choice varchar CONSTRAINT ck_hand_overs_choice CHECK (choice IN ('successor', 'keep', 'erase')),
    successor_id uuid,
    settled_at timestamptz,
    CONSTRAINT pk_hand_overs PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX uq_hand_overs_asked ON hand_overs (tenant_id, member_id, holder) WHERE state = 'asked';
CREATE TABLE deletions ({_ROW}
    object_id uuid NOT NULL,
    multipart_id varchar,
    erasure_id uuid,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL,
    CONSTRAINT pk_deletions PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_deletions_due ON deletions (due_at);
CREATE INDEX ix_deletions_erasure ON deletions (tenant_id, erasure_id) WHERE erasure_id IS NOT NULL;
CREATE TABLE erasures ({_ROW}
    certificate_id uuid NOT NULL,
    erased_version bigint NOT NULL,
    counts jsonb NOT NULL,
    confirmed_at timestamptz,
    CONSTRAINT pk_erasures PRIMARY KEY (tenant_id, id)
);
"""

_OWN = (
    "members",
    "group_members",
    "policies",
    "documents",
    "uploads",
    "openings",
    "hand_overs",
    "deletions",
    "erasures",
)


def upgrade() -> None:
    execute(_TABLES)
    for table in _OWN:
        execute(isolate(table, "documents"))
    # What reconcile compares with the store, and what falls due.
    execute(reveal("documents", "documents", "sweep", "tenant_id", "id", "object_id", "purge_at", "lost_at"))
    execute(reveal("uploads", "documents", "sweep", "tenant_id", "id", "object_id", "multipart_id", "state", "due_at"))
    execute(reveal("deletions", "documents", "sweep", "tenant_id", "id", "object_id", "multipart_id", "due_at"))
    execute(reveal("erasures", "documents", "sweep", "tenant_id", "id", "confirmed_at"))
