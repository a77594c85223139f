"""Members by the thousand, written past the service: what a list page reads, and whom an invitation finds."""

import asyncpg

# name: first and last, so that words repeat as they do among people. The rest is spread by the number.
_MEMBERS = """
INSERT INTO members (tenant_id, created_at, version, login_name, login_key, display_name, name_key, email, email_key,
    profile_version, life, access, locked, deactivated, access_version, generation, epoch, cut, way,
    invited_at, deadline, preset_roles, preset_permission_groups, preset_groups, preset_tags, granted_rights,
    first_owner, roles, permission_groups, roles_av, holder, last_login_at, mail_state, "column", guidance)
SELECT $1, now() - n * interval '1 second', 1, login, login, first || ' ' || last, lower(last || ' ' || first),
    login || '@' || $3, login || '@' || $3, 1, 'present', access, false, false, 1, generation, 0, 0, 'mail',
    CASE WHEN generation > 0 THEN now() END, CASE WHEN generation > 0 THEN now() + interval '28 days' END,
    '{}', '{}', '{}', '{}', '{}', false, CASE access WHEN 'active' THEN '{member}'::varchar[] ELSE '{}' END, '{}', 0,
    CASE access WHEN 'active' THEN 1 ELSE 0 END,
    CASE access WHEN 'active' THEN now() - (n::bigint * 7919 % 8000000) * interval '1 second' ELSE 'epoch' END,
    CASE WHEN bounced THEN 'bounced' WHEN generation > 0 THEN 'sent' END, "column",
    CASE WHEN bounced THEN 'fix_email' WHEN access = 'active' THEN 'ok' WHEN generation > 0 THEN 'wait'
        ELSE 'invite' END
FROM (
    SELECT n, 'p' || n AS login, 'Vor' || substr(md5((n % 211)::text), 1, 4) AS first,
        'Nach' || substr(md5((n % 4999)::text), 1, 5) AS last,
        CASE WHEN $4 THEN 'none' WHEN n % 20 < 17 THEN 'active' WHEN n % 20 < 19 THEN 'invited' ELSE 'none' END
            AS access,
        CASE WHEN $4 THEN 'added' WHEN n % 20 < 17 THEN 'active' WHEN n % 20 < 19 THEN 'invited' ELSE 'added' END
            AS "column",
        CASE WHEN $4 OR n % 20 = 19 THEN 0 ELSE 1 END AS generation, NOT $4 AND n % 1000 = 18 AS bounced
    FROM generate_series(1, $2::int) AS n
) AS people
"""
_TOKENS = """
INSERT INTO member_tokens (tenant_id, token, member_id, contact)
SELECT tenant_id, lower(word), id, false FROM members, regexp_split_to_table(display_name, ' ') AS word
WHERE tenant_id = $1 AND login_name LIKE 'p%' ON CONFLICT DO NOTHING
"""


async def fill(admin: asyncpg.Connection, tenant_id: str, count: int, *, domain: str, uninvited: bool = False) -> None:
    """uninvited: nobody has been invited yet; else five in six are active."""
    await admin.execute("SET session_replication_role = replica")  # no look-up of each word's member
    await admin.execute(_MEMBERS, tenant_id, count, domain, uninvited)
    await admin.execute(_TOKENS, tenant_id)
    await admin.execute("SET session_replication_role = DEFAULT")
    for table in ("members", "member_tokens"):
        await admin.execute(f"VACUUM ANALYZE {table}")


async def ids(admin: asyncpg.Connection, tenant_id: str) -> list[str]:
    rows = await admin.fetch(
        "SELECT id FROM members WHERE tenant_id = $1 AND access = 'none' AND login_name LIKE 'p%' ORDER BY created_at",
        tenant_id,
    )
    return [str(row["id"]) for row in rows]
