import uuid

import pytest
from sqlalchemy import select

from libs.common.changes import Outbox
from libs.common.db import Database
from tests.members.conftest import MEMBERS, As, add, ok, tell

TENANT, TENANTS = "/members/v1/tenant", "/members/v1/operator/tenants"


def new_tenant(**fields: object) -> dict[str, object]:
    slug = f"n-{uuid.uuid4().hex[:8]}"
    owner = {"email": f"Boss@{slug}.example", "display_name": "The Boss"}
    return {"slug": slug, "name": "New", "locale": "de", "seats": 3, "owner": owner, **fields}


async def test_an_operator_makes_a_tenant_and_its_first_owner_is_invited_at_once(as_: As, database: Database) -> None:
    """D-02, D-06, D-07: the owner's role is preset, her seat reserved."""
    tenant = await ok(as_("operator").post(TENANTS, json=new_tenant()), 201)
    assert tenant["seats"] == {"limit": 3, "used": 0, "reserved": 1, "free": 2, "over": 0}
    [owner] = (await ok(as_("admin", uuid.UUID(tenant["id"])).get(MEMBERS)))["items"]
    assert (owner["login_name"], owner["access"], owner["presets"]["roles"]) == ("Boss", "invited", ["member", "owner"])
    async with database.session(uuid.UUID(tenant["id"])) as session:
        sent = (await session.scalars(select(Outbox).order_by(Outbox.sequence))).all()
    assert [row.type for row in sent] == [
        "members.tenant.saved.v1",
        "members.member.access.v1",
        "members.member.saved.v1",
        "members.member.access.v1",
    ]
    assert sent[-1].data["first_owner"] is True
    assert (sent[-1].data["want"], sent[-1].data["roles"]) == ("invited", ["member", "owner"])


async def test_a_slug_is_taken_once_in_the_whole_installation(as_: As) -> None:
    body = new_tenant()
    await ok(as_("operator").post(TENANTS, json=body), 201)
    again = await ok(as_("operator").post(TENANTS, json=body), 409)
    assert again["code"] == "slug_taken"


@pytest.mark.parametrize("slug", ["A", "a", "-a", "a--b", "a_b", "a" * 41, "ä1", "a1\n"])
async def test_a_slug_that_no_address_can_carry_is_malformed(as_: As, slug: str) -> None:
    assert (await ok(as_("operator").post(TENANTS, json=new_tenant(slug=slug)), 400))["field"] == "slug"


async def test_operators_list_tenants_without_their_members(as_: As, acme: uuid.UUID, globex: uuid.UUID) -> None:
    operator = as_("operator")
    seen, cursor = [], None
    while True:
        answer = await ok(operator.get(TENANTS, params={"limit": 2, **({"cursor": cursor} if cursor else {})}))
        seen += [one["id"] for one in answer["items"]]
        cursor = answer["next"]
        if cursor is None or str(acme) in seen:
            break
    assert seen.index(str(globex)) < seen.index(str(acme))
    assert not {"imprint_url", "members"} & set(answer["items"][0])
    assert (await ok(operator.get(f"{TENANTS}/{acme}")))["id"] == str(acme)
    await ok(operator.get(f"{TENANTS}/{uuid.uuid4()}"), 404)


async def test_a_lowered_limit_evicts_nobody_and_stops_growth(as_: As, acme: uuid.UUID) -> None:
    """R-08"""
    admin, operator = as_("admin", acme), as_("operator")
    await tell(admin, await add(admin), "invite")
    changed = await operator.patch(f"{TENANTS}/{acme}", json={"seats": 1}, headers={"If-Match": '"1"'})
    assert changed.json()["seats"] == {"limit": 1, "used": 0, "reserved": 2, "free": 0, "over": 1}
    assert (await tell(admin, await add(admin), "invite", 409))["code"] == "seat_limit_reached"


async def test_the_first_owners_address_is_mended_by_operators_until_she_accepts(
    as_: As, acme: uuid.UUID, answers: object
) -> None:
    """R-19, R-09"""
    admin = as_("admin", acme)
    [owner] = (await ok(admin.get(MEMBERS)))["items"]
    assert (await tell(admin, owner, "readdress", 409, email="x@example.org"))["code"] == "is_owner"
    assert (await tell(admin, owner, "revoke", 409))["code"] == "is_owner"
    await ok(as_("operator").post(f"{TENANTS}/{acme}/owner", json={"email": "right@example.org"}), 204)
    mended = await ok(admin.get(f"{MEMBERS}/{owner['id']}"))
    assert (mended["email"], mended["invitation"]["generation"]) == ("right@example.org", 2)
    await answers.accept(acme, mended)  # type: ignore[attr-defined]
    refused = await ok(as_("operator").post(f"{TENANTS}/{acme}/owner", json={"email": "late@example.org"}), 409)
    assert refused["code"] == "owner_has_accepted"


async def test_a_tenant_changes_its_settings(as_: As, acme: uuid.UUID) -> None:
    """T-01, T-02, T-05"""
    owner = as_("owner", acme)
    read = await owner.get(TENANT)
    assert (read.headers["etag"], read.json()["invitation_hours"]) == ('"1"', 672)
    wanted = {
        "name": "Acme GmbH",
        "colour": "#336699",
        "invitation_hours": 168,
        "retention_days": 0,
        "time_zone": "UTC",
    }
    changed = await owner.patch(TENANT, json=wanted, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert {name: changed.json()[name] for name in wanted} == wanted
    assert (await owner.patch(TENANT, json=wanted, headers={"If-Match": '"1"'})).status_code == 412
    assert (await owner.patch(TENANT, json=wanted)).status_code == 428


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("invitation_hours", 0, 400),
        ("invitation_hours", 2161, 400),
        ("retention_days", 401, 400),
        ("colour", "red", 400),
        ("imprint_url", "javascript:alert(1)", 400),
        ("imprint_url", "https://a b", 400),
        ("locale", "German", 400),
        ("time_zone", "Mars/Base", 422),
        ("slug", "other", 400),
        ("seat_limit", 9, 400),
        ("mail_class", "trusted", 400),
    ],
)
async def test_settings_have_limits(as_: As, acme: uuid.UUID, field: str, value: object, status: int) -> None:
    """T-01: 1 hour to 90 days; seats, class and slug are not the tenant's to change."""
    answer = await as_("owner", acme).patch(TENANT, json={field: value}, headers={"If-Match": '"1"'})
    assert answer.status_code == status
