"""What row level security promises, read from the catalog of every service's migrated database, and by trying."""

import uuid

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from libs.common.events.subjects import SERVICES
from libs.common.roles import Urls
from tests.conftest import UrlsOf

_POLICY = "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS \"nullif\"))"


@pytest.fixture(params=SERVICES)
async def urls(request: pytest.FixtureRequest, urls_of: UrlsOf) -> Urls:
    return await urls_of(request.param)


async def _owner(urls: Urls) -> asyncpg.Connection:
    return await asyncpg.connect(urls.migrate)


_TABLES = """
SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
    obj_description(c.oid) AS comment
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'
"""


async def _open_doors(owner: asyncpg.Connection) -> list[str]:
    """Tables that a tenant's rows could be read through by another tenant, each with what is wrong."""
    found = []
    for table in await owner.fetch(_TABLES):
        name, comment = table["name"], table["comment"] or ""
        policies = await owner.fetch("SELECT * FROM pg_policies WHERE tablename = $1", name)
        if comment.startswith("global: "):
            if len(comment) < 20:
                found.append(f"{name}: global without a reason")
            continue
        if not (table["enabled"] and table["forced"]):
            found.append(f"{name}: row level security is not enabled and forced")
        mine = [(one["qual"], one["with_check"]) for one in policies if one["policyname"] == "tenant_isolation"]
        if mine != [(_POLICY, _POLICY)]:
            found.append(f"{name}: not the one policy text")
        for policy in policies:
            wide = [role for role in policy["roles"] if role == "public" or role.endswith("_app")]
            if policy["policyname"] != "tenant_isolation" and wide:
                found.append(f"{name}: {policy['policyname']} opens it to {wide}")
    return found


async def test_every_table_is_isolated_or_global_with_a_reason(urls: Urls) -> None:
    """R-07: row level security is on and forced, with the one policy text, or the table says why it is global."""
    owner = await _owner(urls)
    try:
        assert await _open_doors(owner) == []
    finally:
        await owner.close()


async def test_the_tenant_leads_every_key_of_a_tenants_table(urls: Urls) -> None:
    """R-07: primary, unique and foreign keys begin with tenant_id, so that no link can cross tenants."""
    owner = await _owner(urls)
    try:
        tables = {
            row["name"] for row in await owner.fetch(_TABLES) if not (row["comment"] or "").startswith("global: ")
        }
        found = await owner.fetch(
            "SELECT c.conname AS name, c.conrelid::regclass::text AS of, r.relname AS to, a.attname AS first"
            " FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
            " LEFT JOIN pg_class r ON r.oid = c.confrelid WHERE c.contype IN ('p', 'u', 'f')"
        )
        for key in found:
            if key["of"] in tables and (key["to"] is None or key["to"] in tables):
                assert key["first"] == "tenant_id", key["name"]
        indexes = await owner.fetch(
            "SELECT i.indexrelid::regclass::text AS name, i.indrelid::regclass::text AS of, a.attname AS first"
            " FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE i.indisunique"
        )
        for index in indexes:
            if index["of"] in tables:
                assert index["first"] == "tenant_id", index["name"]
    finally:
        await owner.close()


async def test_no_type_or_index_that_row_level_security_would_make_slow(urls: Urls) -> None:
    """No PostgreSQL enums and no functional indexes: their operators are not leakproof and lose the index."""
    owner = await _owner(urls)
    try:
        assert await owner.fetchval("SELECT count(*) FROM pg_type WHERE typtype = 'e'") == 0
        functional = await owner.fetch(
            "SELECT indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND i.indexprs IS NOT NULL"
        )
        assert functional == []
    finally:
        await owner.close()


async def test_the_app_role_owns_nothing_and_obeys(urls: Urls) -> None:
    app = await asyncpg.connect(urls.app)
    try:
        role = await app.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        )
        assert tuple(role) == (False, False, False, False)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("TRUNCATE outbox")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("ALTER TABLE outbox DISABLE ROW LEVEL SECURITY")
    finally:
        await app.close()


_INSERT = (
    "INSERT INTO outbox (tenant_id, partition, row_id, row_version, type, subject, data)"
    " VALUES ($1, 0, $1, 1, 'a.b.c.v1', 's', '{}')"
)


async def _sees(connection: asyncpg.Connection, tenant: uuid.UUID | None) -> int:
    async with connection.transaction():
        if tenant is not None:
            await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant))
        return int(await connection.fetchval("SELECT count(*) FROM outbox"))


async def test_without_a_tenant_nothing_is_seen_and_nothing_can_be_written_for_another(
    urls: Urls, acme: uuid.UUID, globex: uuid.UUID
) -> None:
    """R-07"""
    app = await asyncpg.connect(urls.app)
    try:
        async with app.transaction():
            await app.execute("SELECT set_config('app.tenant_id', $1, true)", str(acme))
            await app.execute(_INSERT, acme)
        assert await _sees(app, acme) == 1
        assert await _sees(app, globex) == 0
        assert await _sees(app, None) == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with app.transaction():
                await app.execute("SELECT set_config('app.tenant_id', $1, true)", str(globex))
                await app.execute(_INSERT, acme)
    finally:
        await app.close()


_MUTATIONS = (
    "DROP POLICY tenant_isolation ON {}",
    "ALTER TABLE {} NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
    "CREATE POLICY wide ON {} USING (true)",
)


@pytest.mark.parametrize("mutation", _MUTATIONS)
async def test_taking_any_policy_away_is_noticed(urls: Urls, mutation: str) -> None:
    """Each tenant table in turn loses its protection, and the walk through the catalog says which one it was."""
    owner = await _owner(urls)
    try:
        for table in await owner.fetch(_TABLES):
            if (table["comment"] or "").startswith("global: "):
                continue
            transaction = owner.transaction()
            await transaction.start()
            await owner.execute(mutation.format(f'"{table["name"]}"'))
            assert [door.split(":")[0] for door in await _open_doors(owner)][:1] == [table["name"]]
            await transaction.rollback()
    finally:
        await owner.close()


async def test_the_other_roles_reach_only_what_they_are_for(urls: Urls) -> None:
    """relay: the outbox; sweep and operator: named columns only."""
    forbidden = {
        urls.relay: ["SELECT * FROM audit", "SELECT * FROM dead_letters"],
        urls.sweep: ["SELECT * FROM outbox", "SELECT details FROM audit", "UPDATE audit SET chained = 1"],
        urls.operator: ["SELECT * FROM outbox", "SELECT * FROM audit"],
    }
    for url, statements in forbidden.items():
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()
    assert make_url(urls.backup).username.endswith("_backup")  # type: ignore[union-attr]
