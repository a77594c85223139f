"""Messages, attempts and all that they need: address book, templates, suppressions, direct messages, settings."""

from libs.common.migrations import execute
from libs.common.roles import isolate, reveal, share

revision = "0002"
down_revision = "0001"

_STATES = (
    "'queued', 'sending', 'sent', 'deferred', 'delivered', 'bounced', 'complained', "
    "'suppressed', 'expired', 'failed', 'unknown', 'cancelled'"
)
_ROW = """
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),"""

_TENANT_TABLES = f"""
CREATE TABLE tenants (
    tenant_id uuid NOT NULL,
    version bigint NOT NULL,
    slug varchar NOT NULL,
    display_name varchar NOT NULL,
    locale varchar NOT NULL,
    time_zone varchar NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_tenants_state CHECK (state IN ('open', 'closed')),
    colour varchar,
    imprint_url varchar,
    privacy_url varchar,
    mail_class varchar NOT NULL CONSTRAINT ck_tenants_mail_class CHECK (mail_class IN ('new', 'normal', 'trusted')),
    CONSTRAINT pk_tenants PRIMARY KEY (tenant_id)
);
CREATE TABLE address_book (
    tenant_id uuid NOT NULL,
    member_id uuid NOT NULL,
    profile_version bigint NOT NULL DEFAULT 0,
    access_version bigint NOT NULL DEFAULT 0,
    av bigint NOT NULL DEFAULT 0,
    display_name varchar NOT NULL DEFAULT '',
    email varchar,
    email_canonical varchar,
    locale varchar,
    life varchar NOT NULL DEFAULT 'present' CONSTRAINT ck_address_book_life
        CHECK (life IN ('present', 'marked_deleted', 'erasing', 'anonymised', 'erased')),
    access varchar NOT NULL DEFAULT 'none' CONSTRAINT ck_address_book_access
        CHECK (access IN ('none', 'invited', 'active', 'revoked')),
    epoch bigint NOT NULL DEFAULT 0,
    holder bigint NOT NULL DEFAULT 0,
    blocked text[] NOT NULL DEFAULT '{{}}',
    locked_until timestamptz,
    CONSTRAINT pk_address_book PRIMARY KEY (tenant_id, member_id)
);
CREATE TABLE invitations (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    member_id uuid NOT NULL,
    generation bigint NOT NULL DEFAULT 0,
    ended_generation bigint NOT NULL DEFAULT 0,
    ended_reason varchar,
    CONSTRAINT pk_invitations PRIMARY KEY (tenant_id, id)
);
CREATE TABLE messages ({_ROW}
    version bigint NOT NULL DEFAULT 1,
    cause_id uuid NOT NULL,
    cause_type varchar NOT NULL,
    copy_number integer NOT NULL DEFAULT 0,
    copy_of uuid,
    actor_id uuid,
    template varchar NOT NULL,
    template_version varchar,
    category varchar NOT NULL CONSTRAINT ck_messages_category CHECK (category IN ('security', 'transactional')),
    priority integer NOT NULL,
    locale varchar NOT NULL,
    data jsonb NOT NULL,
    member_id uuid,
    email varchar NOT NULL,
    email_canonical varchar NOT NULL,
    link_purpose integer,
    link_id uuid,
    link_path varchar,
    link_deadline timestamptz,
    epoch bigint,
    generation bigint,
    state varchar NOT NULL CONSTRAINT ck_messages_state CHECK (state IN ({_STATES})),
    reason varchar,
    due_at timestamptz,
    expires_at timestamptz NOT NULL,
    attempt_id uuid,
    attempts integer NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,
    uncertain integer NOT NULL DEFAULT 0,
    first_try_at timestamptz,
    changed_at timestamptz NOT NULL,
    CONSTRAINT pk_messages PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_messages_cause
        UNIQUE (tenant_id, cause_id, template, email_canonical, copy_number),
    CONSTRAINT ck_messages_due
        CHECK (due_at IS NOT NULL OR state NOT IN ('queued', 'sending', 'deferred', 'suppressed'))
);
CREATE INDEX ix_messages_due ON messages (priority, tenant_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_messages_member ON messages (tenant_id, member_id, id);
CREATE INDEX ix_messages_address ON messages (tenant_id, email_canonical, id);
CREATE INDEX ix_messages_state ON messages (tenant_id, state, id);
CREATE INDEX ix_messages_link ON messages (tenant_id, link_id) WHERE link_id IS NOT NULL;
CREATE INDEX ix_messages_copies ON messages (tenant_id, copy_of) WHERE copy_of IS NOT NULL;
CREATE TABLE message_bodies (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    sender_name varchar NOT NULL,
    reply_to varchar,
    subject varchar NOT NULL,
    text varchar NOT NULL,
    html varchar NOT NULL,
    logo_id uuid,
    CONSTRAINT pk_message_bodies PRIMARY KEY (tenant_id, message_id),
    CONSTRAINT fk_message_bodies_tenant_id_message_id FOREIGN KEY (tenant_id, message_id)
        REFERENCES messages (tenant_id, id) ON DELETE CASCADE
);
CREATE TABLE attempts ({_ROW}
    message_id uuid NOT NULL,
    number integer NOT NULL,
    ended_at timestamptz,
    outcome varchar CONSTRAINT ck_attempts_outcome
        CHECK (outcome IN ('sent', 'deferred', 'bounced', 'refused', 'relay_lost', 'uncertain')),
    code integer,
    enhanced varchar,
    reply varchar,
    host varchar,
    duration_ms integer,
    CONSTRAINT pk_attempts PRIMARY KEY (tenant_id, id),
    CONSTRAINT fk_attempts_tenant_id_message_id FOREIGN KEY (tenant_id, message_id)
        REFERENCES messages (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ix_attempts_message ON attempts (tenant_id, message_id, id);
CREATE TABLE delivery_reports ({_ROW}
    message_id uuid NOT NULL,
    digest bytea NOT NULL,
    kind varchar NOT NULL CONSTRAINT ck_delivery_reports_kind
        CHECK (kind IN ('failed', 'delayed', 'delivered', 'complained')),
    status varchar,
    diagnostic varchar NOT NULL,
    server varchar NOT NULL,
    CONSTRAINT pk_delivery_reports PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_delivery_reports_tenant_id_message_id_digest UNIQUE (tenant_id, message_id, digest),
    CONSTRAINT fk_delivery_reports_tenant_id_message_id FOREIGN KEY (tenant_id, message_id)
        REFERENCES messages (tenant_id, id) ON DELETE CASCADE
);
CREATE TABLE suppressions ({_ROW}
    email varchar NOT NULL,
    email_canonical varchar NOT NULL,
    domain_digest bytea NOT NULL,
    reason varchar NOT NULL CONSTRAINT ck_suppressions_reason CHECK (reason IN ('hard_bounce', 'complaint', 'manual')),
    detail varchar NOT NULL,
    message_id uuid,
    due_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    lifted_at timestamptz,
    lifted_by varchar,
    CONSTRAINT pk_suppressions PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX uq_suppressions_active ON suppressions (tenant_id, email_canonical) WHERE lifted_at IS NULL;
CREATE INDEX ix_suppressions_due ON suppressions (due_at) WHERE lifted_at IS NULL;
CREATE TABLE direct_messages ({_ROW}
    member_id uuid NOT NULL,
    holder bigint NOT NULL,
    author_id uuid NOT NULL,
    subject varchar NOT NULL,
    text varchar NOT NULL,
    message_id uuid NOT NULL,
    CONSTRAINT pk_direct_messages PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_direct_messages_member ON direct_messages (tenant_id, member_id, id);
CREATE INDEX ix_direct_messages_author ON direct_messages (tenant_id, author_id);
CREATE TABLE mail_settings (
    tenant_id uuid NOT NULL,
    version integer NOT NULL,
    sender_name varchar,
    reply_to varchar,
    colour varchar,
    logo_id uuid,
    matrix jsonb NOT NULL DEFAULT '{{}}',
    CONSTRAINT pk_mail_settings PRIMARY KEY (tenant_id)
);
CREATE TABLE logos ({_ROW}
    type varchar NOT NULL CONSTRAINT ck_logos_type CHECK (type IN ('image/png', 'image/jpeg')),
    data bytea NOT NULL,
    CONSTRAINT pk_logos PRIMARY KEY (tenant_id, id)
);
CREATE TABLE template_versions ({_ROW}
    version integer NOT NULL,
    template varchar NOT NULL,
    locale varchar NOT NULL CONSTRAINT ck_template_versions_locale CHECK (locale IN ('de', 'en')),
    number integer NOT NULL,
    state varchar NOT NULL CONSTRAINT ck_template_versions_state CHECK (state IN ('draft', 'published', 'retired')),
    subject varchar NOT NULL,
    body varchar NOT NULL,
    action_label varchar NOT NULL,
    created_by uuid NOT NULL,
    published_at timestamptz,
    published_by uuid,
    CONSTRAINT pk_template_versions PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_template_versions_tenant_id_template_locale_number UNIQUE (tenant_id, template, locale, number)
);
CREATE UNIQUE INDEX uq_template_versions_published ON template_versions (tenant_id, template, locale)
    WHERE state = 'published';
"""

_GLOBAL_TABLES = """
CREATE TABLE bounce_counts (
    domain_digest bytea NOT NULL,
    "window" timestamptz NOT NULL,
    bounces integer NOT NULL,
    CONSTRAINT pk_bounce_counts PRIMARY KEY (domain_digest, "window")
);
"""

_ISOLATED = (
    "tenants", "address_book", "invitations", "messages", "message_bodies", "attempts", "delivery_reports",
    "suppressions", "direct_messages", "mail_settings", "logos", "template_versions",
)  # fmt: skip


def upgrade() -> None:
    execute(_TENANT_TABLES)
    execute(_GLOBAL_TABLES)
    for table in _ISOLATED:
        execute(isolate(table, "notifier"))
    execute(share("bounce_counts", "notifier", reason="a failing provider fails for all tenants at once; digests only"))
    execute(reveal("messages", "notifier", "sweep", "tenant_id", "id", "state", "due_at", "priority"))
    execute(reveal("messages", "notifier", "operator", "tenant_id", "id", "state", "due_at", "template", "created_at"))
    execute(reveal("suppressions", "notifier", "sweep", "tenant_id", "id", "due_at", "lifted_at"))
