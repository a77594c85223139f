"""The list: filters, sorting, keyset pages, and what the database does for one."""

import uuid
from typing import Any

import asyncpg
import pytest

from libs.common.db import Database, now
from libs.common.events.notifier import MessageChanged
from libs.common.pages import encode_cursor
from services.members.facts import COLUMNS, DEFAULT_LIST
from services.members.people import names
from services.members.people.listing import MemberFilter, Sort, ids_statement, list_page, page_statement, read_filter
from tests.conftest import UrlsOf
from tests.members.conftest import MEMBERS, Answers, As, add, make_tenant, ok, staff, tell

SORTS: tuple[Sort, ...] = ("name", "-name", "last_login", "-last_login", "created", "-created")


async def pages(client: Any, limit: int = 3, **params: Any) -> list[dict[str, Any]]:
    """All items, page by page."""
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer = await ok(
            client.get(MEMBERS, params={**params, "limit": limit, **({"cursor": cursor} if cursor else {})})
        )
        assert len(answer["items"]) <= limit
        seen += answer["items"]
        cursor = answer["next"]
        if cursor is None:
            return seen


@pytest.fixture
async def crowd(as_: As, database: Database) -> uuid.UUID:
    """Ten people in five columns; two share a name."""
    tenant = await make_tenant(database, seats=20)
    admin = as_("admin", tenant)
    for n, name in enumerate(["Zoe", "Anna", "anna", "Öz", "Oskar", "Ben", "Cem", "Dora", "Eva"]):
        one = await add(admin, f"m{n}", display_name=name)
        if n % 3 == 1:
            await tell(admin, one, "invite")
        if n % 4 == 2:
            await tell(admin, one, "lock")
    return tenant


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_have_no_gap_and_no_repeat(as_: As, crowd: uuid.UUID, sort: Sort) -> None:
    """A-27, R-29: columns are merged in order."""
    admin = as_("admin", crowd)
    whole = await pages(admin, limit=200, sort=sort)
    assert len(whole) == 10
    for limit in (1, 3, 10):
        assert await pages(admin, limit=limit, sort=sort) == whole
    if sort.endswith("name"):
        keys = [names.sort_key(one["display_name"]) for one in whole]
        assert keys == sorted(keys, reverse=sort.startswith("-"))


async def test_filters_apply_together(as_: As, crowd: uuid.UUID) -> None:
    """R-04, C-11, C-15: of several values in one field any, of several fields all."""
    admin = as_("admin", crowd)

    async def shown(**params: Any) -> list[str]:
        return [one["login_name"] for one in await pages(admin, **params)]

    assert set(await shown(column="invited")) == {"m1", "m4", "m7", "boss"}
    assert set(await shown(column=["locked", "invited"])) == {"m1", "m4", "m7", "boss", "m2", "m6"}
    assert set(await shown(access="invited", column="locked")) == set()
    assert set(await shown(guidance="unlock")) == {"m2", "m6"}
    assert await shown(text="ann", column="locked") == ["m2"]
    assert set(await shown(text="ANN")) == {"m1", "m2"}
    assert await shown(text="oz") == ["m3"]
    assert await shown(text="m3 öz") == ["m3"]
    assert await shown(text="m3 zoe") == []
    assert await shown(login_name="M3") == ["m3"]
    assert await shown(email="M3@EXAMPLE.org ") == ["m3"]
    assert set(await shown(never_signed_in=True)) == {"boss", *(f"m{n}" for n in range(9))}
    assert await shown(last_login_from="2020-01-01T00:00:00Z") == []
    assert await shown(mail_state="bounced") == []
    assert await shown(access="active", column="added") == []
    assert set(await shown(guidance=["wait", "unlock"], sort="-name")) == {"m1", "m4", "m7", "boss", "m2", "m6"}


@pytest.mark.parametrize("sort", SORTS)
async def test_the_few_who_need_somebody_to_act_are_found(
    as_: As, answers: Answers, acme: uuid.UUID, sort: Sort
) -> None:
    """C-12: the filter `error in e-mail address` is the guidance *Fix e-mail*."""
    admin = as_("admin", acme)
    people = [await add(admin, name) for name in ("ann", "bob", "cem")]
    for one, state in zip(people, ("bounced", "sent", "bounced"), strict=True):
        await tell(admin, one, "invite")
        told: dict[str, Any] = {"message_id": uuid.uuid4(), "member_id": uuid.UUID(one["id"]), "state": state}
        await answers(acme, MessageChanged(**told, template="invitation", epoch=0, generation=1, reason=None, at=now()))

    async def shown(**params: Any) -> list[str]:
        return [one["login_name"] for one in await pages(admin, limit=1, sort=sort, **params)]

    assert set(await shown(guidance="fix_email")) == {"ann", "cem"}
    assert set(await shown(guidance=["fix_email", "buy_seat"], access="invited")) == {"ann", "cem"}
    assert set(await shown(guidance=["fix_email", "wait"])) == {"ann", "bob", "cem", "boss"}
    assert set(await shown(guidance="fix_email", mail_state="bounced", text="ann")) == {"ann"}
    assert await shown(guidance="fix_email", column="active") == []


async def test_a_cursor_serves_only_its_filter_and_its_sorting(as_: As, crowd: uuid.UUID) -> None:
    admin = as_("admin", crowd)
    cursor = (await ok(admin.get(MEMBERS, params={"limit": 2, "column": "added"})))["next"]
    for other in ({"column": "invited"}, {"column": "added", "sort": "-name"}, {}):
        answer = await admin.get(MEMBERS, params={"cursor": cursor, **other})
        assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "nonsense"},
        {"cursor": encode_cursor("members:name:0", "a\x00b", str(uuid.uuid4()))},
        {"limit": 0},
        {"limit": 201},
        {"column": "sleeping"},
        {"sort": "shoe_size"},
        {"text": "a\x00b"},
        {"last_login_from": "yesterday"},
        {"last_login_from": "2026-01-01T00:00:00"},
        {"mail_state": "x"},
    ],
)
async def test_what_no_list_understands_is_malformed(as_: As, acme: uuid.UUID, params: dict[str, Any]) -> None:
    assert (await as_("admin", acme).get(MEMBERS, params=params)).status_code == 400


@pytest.mark.parametrize("key", ["a\x00b", "x" * 500])
async def test_a_forged_cursor_cannot_break_the_statement(
    as_: As, acme: uuid.UUID, database: Database, key: str
) -> None:
    actor = staff(acme)
    wanted = read_filter(MemberFilter(), actor)
    from services.members.people.listing import _digest

    forged = encode_cursor(f"members:name:{_digest(wanted)}", key, str(uuid.uuid4()))
    answer = await as_("owner", acme).get(MEMBERS, params={"cursor": forged})
    assert answer.status_code == (400 if "\x00" in key else 200)


async def test_no_row_of_another_tenant_is_listed(as_: As, acme: uuid.UUID, globex: uuid.UUID) -> None:
    """R-07: the hot read carries the tenant like every session."""
    bob = await add(as_("admin", acme), "bob")
    for params in ({}, {"text": "bob"}, {"login_name": "bob"}, {"column": list(COLUMNS)}):
        items = (await ok(as_("admin", globex).get(MEMBERS, params=params)))["items"]
        assert bob["id"] not in [one["id"] for one in items]


MANY = 20_000


@pytest.fixture(scope="module")
def plans() -> dict[str, str]:
    return {}


async def fill(migrate_url: str, tenant: uuid.UUID) -> None:
    """20,000 members, most of them added, some in each column."""
    connection = await asyncpg.connect(migrate_url)
    columns = [*["added"] * 15, "invited", "active", "locked", "revoked", "inactive"]
    guidance = [*["invite"] * 15, "wait", "ok", "unlock", "invite", "reactivate"]
    try:
        await connection.execute(
            """
            INSERT INTO members (tenant_id, version, login_name, login_key, display_name, name_key, email, email_key,
                profile_version, life, access, locked, deactivated, access_version, generation, epoch, cut, way,
                preset_roles, preset_permission_groups, preset_groups, preset_tags, granted_rights, first_owner, roles,
                permission_groups, roles_av, holder, last_login_at, "column", guidance)
            SELECT $1, 1, 'l' || n, 'l' || n, 'Name ' || md5(n::text), 'name ' || md5(n::text),
                'l' || n || '@example.org', 'l' || n || '@example.org', 1, 'present', 'none', false, false, 1, 0, 0, 0,
                'mail', '{}', '{}', '{}', '{}', '{}', false, '{}', '{}', 0, 0, '1970-01-01',
                ($2::text[])[1 + n % 20], CASE WHEN n % 1000 = 15 THEN 'fix_email' ELSE ($3::text[])[1 + n % 20] END
            FROM generate_series(1, $4) AS n
            """,
            tenant,
            columns,
            guidance,
            MANY,
        )
        await connection.execute(
            "INSERT INTO member_tokens (tenant_id, token, member_id, contact)"
            " SELECT tenant_id, login_key, id, false FROM members WHERE tenant_id = $1 AND login_key LIKE 'l%'"
            " UNION ALL SELECT tenant_id, substr(name_key, 6), id, false FROM members"
            " WHERE tenant_id = $1 AND login_key LIKE 'l%'",
            tenant,
        )
        await connection.execute("ANALYZE members, member_tokens")
    finally:
        await connection.close()


FILTERS: dict[str, MemberFilter] = {
    "default": MemberFilter(),
    "one column": MemberFilter(column=["locked"]),
    "all columns": MemberFilter(column=list(COLUMNS)),
    "access": MemberFilter(access=["active"], column=["active", "locked"]),
    "rare guidance": MemberFilter(guidance=["fix_email", "invite_again"]),
    "guidance": MemberFilter(guidance=["ok", "fix_email"]),
    "nobody fits": MemberFilter(access=["active"], column=["added"]),
    "word": MemberFilter(text="l1999"),
    "short word": MemberFilter(text="a"),
    "two words": MemberFilter(text="l1999 c"),
    "e-mail": MemberFilter(email="l5@example.org"),
    "login name": MemberFilter(login_name="l5"),
    "last login": MemberFilter(last_login_from=now()),
}


async def test_every_list_is_read_by_index(urls_of: UrlsOf, database: Database, subtests: Any) -> None:
    """R-29: no sequential scan at 20,000 rows in the tenant, under row level security, whatever filter and order."""
    urls = await urls_of("members")
    tenant = await make_tenant(database)
    await fill(urls.migrate, tenant)
    actor = staff(tenant)
    app = await asyncpg.connect(urls.app)
    try:
        for name, filter in FILTERS.items():
            wanted = read_filter(filter, actor)
            for sort in SORTS:
                for after in ([], [_middle(sort), uuid.uuid4()]):
                    statement = page_statement(
                        wanted.columns, wanted.conditions, sort, 21, after=bool(after), rare=wanted.rare
                    )
                    with subtests.test(name=name, sort=sort, after=bool(after)):
                        for mode in ("force_custom_plan", "force_generic_plan"):
                            plan = await explain(app, tenant, statement, [*after, *wanted.values], mode)
                            assert "Seq Scan" not in plan, plan
                            if name in ("default", "one column", "all columns"):
                                assert "->  Sort" not in plan, plan
                            if name == "rare guidance" and not after:  # near the end others may be as good
                                assert "ix_members_by_guidance" in plan, plan
        wanted = read_filter(MemberFilter(column=["locked"]), actor)
        plan = await explain(app, tenant, ids_statement(wanted.columns, (), 5001), [])
        assert "Seq Scan" not in plan, plan
    finally:
        await app.close()


def _middle(sort: str) -> Any:
    return "name 8" if sort.endswith("name") else now()


async def explain(
    connection: asyncpg.Connection, tenant: uuid.UUID, statement: str, values: list[Any], mode: str = "auto"
) -> str:
    """As a prepared statement: after a few pages the database keeps a plan that knows no values."""
    async with connection.transaction():
        await connection.execute(f"SELECT set_config('app.tenant_id', '{tenant}', true)")
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}; PREPARE page AS {statement}")
        given = ", ".join(_literal(value) for value in values)
        rows = await connection.fetch(f"EXPLAIN EXECUTE page{f'({given})' if given else ''}")
        await connection.execute("DEALLOCATE page")
    return "\n".join(row[0] for row in rows)


def _literal(value: Any) -> str:
    text = "{" + ",".join(value) + "}" if isinstance(value, list) else str(value)
    return f"'{text}'"


async def test_a_page_is_one_statement(database: Database, crowd: uuid.UUID) -> None:
    """R-29, §9"""
    asked: list[str] = []

    class Counting(Database):
        async def read(self, tenant_id: uuid.UUID, sql: str, *args: object) -> Any:
            asked.append(sql)
            return await super().read(tenant_id, sql, *args)

    counting = Counting(str(database.engine.url.render_as_string(hide_password=False)))
    rows, cursor = await list_page(counting, staff(crowd), MemberFilter(), sort="name", cursor=None, limit=4)
    assert (len(rows), cursor is not None, len(asked)) == (4, True, 1)
    await counting.close()
    assert len(DEFAULT_LIST) == asked[0].count("FROM members")
