"""Database roles: who may do what in a service's database, and the SQL by which migrations say it.

<service>_app       reads and writes its tenant's rows; no superuser, no BYPASSRLS, owns nothing
<service>_relay     the outbox only, of all tenants
<service>_sweep     tenant, id, state and due time of named tables; each hit is then done in its own tenant
<service>_operator  named columns of tenants, seats, message states
<service>_migrate   owns the tables; BYPASSRLS; Jobs only
<service>_backup    reads everything; BYPASSRLS; Jobs only
"""

from collections.abc import Mapping
from typing import NamedTuple

import asyncpg
from sqlalchemy.engine import make_url

ROLES = ("app", "relay", "sweep", "operator", "migrate", "backup")

# The only policy text there is. nullif: after a transaction the setting is '', not NULL. The sub-select is
# evaluated once a statement and lets the index on tenant_id be used.
_MINE = "tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid)"


def isolate(table: str, service: str) -> str:
    """A tenant's table: row level security on and forced, the app role may use it within its tenant."""
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
        f"CREATE POLICY tenant_isolation ON {table} USING ({_MINE}) WITH CHECK ({_MINE});"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {service}_app;"
    )


def share(table: str, service: str, *, reason: str) -> str:
    """A global table: no tenant's, read by one exact key only. The catalog keeps the reason; a test asks for it."""
    text = reason.replace("'", "''")
    return (
        f"COMMENT ON TABLE {table} IS 'global: {text}';"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {service}_app;"
    )


def reveal(table: str, service: str, role: str, *columns: str, verbs: str = "SELECT") -> str:
    """Let relay, sweep or operator see these columns (all where none is named) of every tenant's rows."""
    named = f" ({', '.join(columns)})" if columns else ""
    granted = ", ".join(f"{verb}{named if verb != 'DELETE' else ''}" for verb in verbs.split(", "))
    policies = "".join(
        f"CREATE POLICY {role}_{verb.lower()} ON {table} FOR {verb} TO {service}_{role} "
        + ("WITH CHECK (true);" if verb == "INSERT" else "USING (true);")
        for verb in verbs.split(", ")
    )
    return f"GRANT {granted} ON {table} TO {service}_{role};{policies}"


class Urls(NamedTuple):
    """Addresses of one service's database, one for each role."""

    app: str
    relay: str
    sweep: str
    operator: str
    migrate: str
    backup: str


async def provision(admin_url: str, service: str, passwords: Mapping[str, str], *, database: str = "") -> Urls:
    """Make the service's database and roles if they are not there, as an administrator of the cluster.

    passwords: one for each of ROLES. Safe to repeat: passwords are set anew, nothing is dropped.
    """
    name = database or service
    connection = await asyncpg.connect(admin_url)
    try:
        # Roles belong to the cluster; two processes that provision at once must not trip over each other.
        await connection.execute("SELECT pg_advisory_lock(4241)")
        for role in ROLES:
            await _make_role(connection, f"{service}_{role}", passwords[role], bypass=role in ("migrate", "backup"))
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}" OWNER {service}_migrate')
            await connection.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
            for role in ROLES:
                await connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO {service}_{role}')
    finally:
        await connection.close()
    url = make_url(admin_url).set(database=name)
    owner = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        await owner.execute(f"GRANT ALL ON SCHEMA public TO {service}_migrate")
        await owner.execute(f"GRANT USAGE ON SCHEMA public TO {', '.join(f'{service}_{role}' for role in ROLES)}")
        await owner.execute(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {service}_migrate IN SCHEMA public"
            f" GRANT SELECT ON TABLES TO {service}_backup"
        )
    finally:
        await owner.close()
    return Urls(
        *(
            url.set(username=f"{service}_{role}", password=passwords[role]).render_as_string(hide_password=False)
            for role in ROLES
        )
    )


async def check_app_role(url: str) -> None:
    """Raises RuntimeError where the role could walk around row level security: then no service may start."""
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(
            "SELECT rolname, rolsuper, rolbypassrls, (SELECT count(*) FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relowner = r.oid AND n.nspname = 'public') AS owned"
            " FROM pg_roles r WHERE rolname = current_user"
        )
    finally:
        await connection.close()
    if row["rolsuper"] or row["rolbypassrls"] or row["owned"]:
        raise RuntimeError(
            f"Database role {row['rolname']} is superuser, bypasses row level security or owns tables. "
            "Give the service its <service>_app role."
        )


async def _make_role(connection: asyncpg.Connection, name: str, password: str, *, bypass: bool) -> None:
    verb = "ALTER" if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name) else "CREATE"
    secret = password.replace("'", "''")
    rights = "BYPASSRLS" if bypass else "NOBYPASSRLS"
    await connection.execute(
        f"{verb} ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE {rights} PASSWORD '{secret}'"
    )
    if not bypass:
        for setting, value in (("statement_timeout", "5s"), ("lock_timeout", "2s")):
            await connection.execute(f"ALTER ROLE {name} SET {setting} = '{value}'")
        await connection.execute(f"ALTER ROLE {name} SET idle_in_transaction_session_timeout = '15s'")
