"""Migrations of all services: one way to run them, and the tables that every service has.

A migration is plain SQL in services/<service>/migrations/versions/, run by the migrate role under an advisory lock.
New tables name their kind with isolate() or share() of libs/common/roles.py; a test walks the catalog for the rest.
"""

import importlib
from pathlib import Path

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, MetaData, pool, text

from libs.common.db import open_engine
from libs.common.roles import isolate, reveal

_LOCK = 4243


def config(service: str, connection: Connection | None = None) -> Config:
    package = importlib.import_module(f"services.{service}.migrations")
    found = Config()
    found.set_main_option("script_location", str(Path(next(iter(package.__path__)))))
    found.attributes["connection"] = connection
    return found


async def migrate(service: str, url: str) -> None:
    """Bring the service's database to the newest version; safe to run twice at once."""
    engine = open_engine(url, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.execute(text("SET LOCAL lock_timeout = '2s'"))
            await connection.run_sync(lambda sync: command.upgrade(config(service, sync), "head"))
    finally:
        await engine.dispose()


def run(metadata: MetaData) -> None:
    """What every migrations/env.py calls."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


def execute(sql: str) -> None:
    """Run a script of statements within the migration's transaction. (A prepared statement would take only one.)"""
    connection = op.get_bind().connection
    connection.run_async(lambda driver: driver.execute(sql))


def common_tables(service: str) -> str:
    """The tables that every service has, as they were in its first migration. Never edited: later changes are
    migrations of their own.
    """
    return """
CREATE TABLE outbox (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    partition smallint NOT NULL CONSTRAINT ck_outbox_partition CHECK (partition BETWEEN 0 AND 15),
    row_id uuid NOT NULL,
    row_version bigint NOT NULL,
    type varchar NOT NULL,
    subject varchar NOT NULL,
    data jsonb NOT NULL,
    traceparent varchar,
    published_at timestamptz,
    stream_seq bigint,
    attempts integer NOT NULL DEFAULT 0,
    last_error varchar,
    CONSTRAINT pk_outbox PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_outbox_waiting ON outbox (partition, sequence) WHERE published_at IS NULL;
CREATE INDEX ix_outbox_created_at ON outbox (created_at);
CREATE TABLE inbox (
    tenant_id uuid NOT NULL,
    consumer varchar NOT NULL,
    event_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_inbox PRIMARY KEY (tenant_id, consumer, event_id)
);
CREATE INDEX ix_inbox_received_at ON inbox USING brin (received_at);
CREATE TABLE dead_letters (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    consumer varchar NOT NULL,
    event_id uuid NOT NULL,
    subject varchar NOT NULL,
    raw bytea NOT NULL,
    error varchar NOT NULL,
    deliveries integer NOT NULL,
    state varchar NOT NULL DEFAULT 'open'
        CONSTRAINT ck_dead_letters_state CHECK (state IN ('open', 'retried', 'dropped')),
    CONSTRAINT pk_dead_letters PRIMARY KEY (tenant_id, id),
    CONSTRAINT uq_dead_letters_tenant_id_consumer_event_id UNIQUE (tenant_id, consumer, event_id)
);
CREATE TABLE audit (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT now(),
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    actor_kind varchar NOT NULL,
    actor_id uuid NOT NULL,
    session_id varchar NOT NULL,
    row_id uuid NOT NULL,
    type varchar NOT NULL,
    details jsonb,
    salt bytea,
    chained bigint,
    digest bytea,
    chain bytea,
    CONSTRAINT pk_audit PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_audit_row_id ON audit (tenant_id, row_id, id);
CREATE INDEX ix_audit_unchained ON audit (tenant_id, sequence) WHERE chained IS NULL;
CREATE UNIQUE INDEX ix_audit_chained ON audit (tenant_id, chained) WHERE chained IS NOT NULL;
CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL,
    actor_id uuid NOT NULL,
    route varchar NOT NULL,
    key varchar NOT NULL,
    request_digest bytea NOT NULL,
    status integer,
    headers jsonb,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant_id, actor_id, route, key)
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
""" + "".join(
        [
            *(isolate(table, service) for table in ("outbox", "inbox", "dead_letters", "audit", "idempotency_keys")),
            reveal("outbox", service, "relay", verbs="SELECT, UPDATE, DELETE"),
            reveal("inbox", service, "relay", verbs="SELECT, DELETE"),
            reveal("dead_letters", service, "operator", verbs="SELECT, UPDATE"),
            reveal("dead_letters", service, "sweep", "tenant_id", "id", "consumer", "state"),
            reveal("audit", service, "sweep", "tenant_id", "id", "sequence", "chained"),
            reveal("idempotency_keys", service, "relay", verbs="SELECT, DELETE"),
        ]
    )
