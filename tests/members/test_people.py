"""Profiles: what may be entered, what is unique, who sees what."""

import uuid
from typing import Any

import pytest
from sqlalchemy import select

from libs.common.changes import Audit, Outbox
from libs.common.db import Database
from libs.common.permissions import Permission
from services.members.people import names
from tests.members.conftest import MEMBERS, As, add, make_tenant, ok, read


def person(**fields: object) -> dict[str, object]:
    name = f"bob-{uuid.uuid4().hex[:8]}"
    return {"login_name": name, "display_name": "Bob", "email": f"{name}@example.org", **fields}


async def test_a_login_name_is_enough(as_: As, acme: uuid.UUID) -> None:
    """A-12, A-13: the display name may be a pseudonym."""
    told = await ok(as_("counsellor", acme).post(MEMBERS, json={"login_name": "w7", "display_name": "Blauer Wal"}), 201)
    assert (told["display_name"], told["access"]) == ("Blauer Wal", "none")


async def test_names_of_signs_only_are_names(as_: As, acme: uuid.UUID) -> None:
    told = await ok(as_("admin", acme).post(MEMBERS, json={"login_name": "* *", "display_name": "- -"}), 201)
    assert told["login_name"] == "* *"


async def test_a_tenant_may_ask_for_an_address(as_: As, database: Database) -> None:
    """A-13"""
    admin = as_("admin", await make_tenant(database, email_required=True))
    assert (await ok(admin.post(MEMBERS, json=person(email=None)), 422))["code"] == "email_required"
    bob = await add(admin)
    answer = await admin.patch(f"{MEMBERS}/{bob['id']}", json={"email": None}, headers={"If-Match": '"1"'})
    assert answer.json()["code"] == "email_required"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("login_name", ""),
        ("login_name", "bob@example.org"),
        ("login_name", " bob"),
        ("login_name", "bo\u200bb"),
        ("login_name", "x" * 101),
        ("display_name", " "),
        ("display_name", "a\u202eb"),
        ("display_name", "a\x00b"),
        ("email", "nobody"),
        ("email", "a@b"),
        ("email", "a b@example.org"),
        ("email", '"a"@example.org'),
        ("phone", "call me"),
        ("locale", "german"),
        ("starts_at", "2026-01-01"),
        ("nickname", "Bobby"),
        ("column", "active"),
    ],
)
async def test_what_is_no_such_thing_is_malformed(as_: As, acme: uuid.UUID, field: str, value: object) -> None:
    """R-28: the field is named."""
    refused = await ok(as_("admin", acme).post(MEMBERS, json=person(**{field: value})), 400)
    assert refused["field"] == field


@pytest.mark.parametrize(("one", "other"), [("Bob", "bOB"), ("Straße", "STRASSE"), ("café", "cafe\u0301")])
async def test_a_login_name_is_taken_whatever_its_case(as_: As, acme: uuid.UUID, one: str, other: str) -> None:
    """D-25: unique in the tenant."""
    admin = as_("admin", acme)
    first = await ok(admin.post(MEMBERS, json=person(login_name=one)), 201)
    refused = await ok(admin.post(MEMBERS, json=person(login_name=other)), 409)
    assert (refused["code"], refused["member_id"]) == ("login_name_taken", first["id"])


async def test_staff_change_the_login_name_and_the_history_says_so(as_: As, acme: uuid.UUID) -> None:
    """D-08, D-09, T-10: the id stays; other names stay taken."""
    admin = as_("admin", acme)
    bob, eve = await add(admin), await add(admin)
    path, etag = f"{MEMBERS}/{bob['id']}", {"If-Match": '"1"'}
    changed = await admin.patch(path, json={"login_name": "robert"}, headers=etag)
    assert (changed.headers["etag"], changed.json()["id"]) == ('"2"', bob["id"])
    [entry, *_] = (await ok(admin.get(f"{path}/history")))["items"]
    assert entry["details"]["edited"] == {"login_name": [bob["login_name"], "robert"]}
    taken = await admin.patch(path, json={"login_name": eve["login_name"]}, headers={"If-Match": '"2"'})
    assert taken.json()["code"] == "login_name_taken"
    assert (await ok(as_("member", acme).patch(path, json={"login_name": "me"}, headers=etag), 403))[
        "code"
    ] == "forbidden"


@pytest.mark.parametrize(("if_match", "status"), [(None, 428), ("1", 400), ('"7"', 412), ('"1"', 200)])
async def test_who_edits_says_which_version_was_read(
    as_: As, acme: uuid.UUID, if_match: str | None, status: int
) -> None:
    admin = as_("admin", acme)
    bob = await add(admin)
    headers = {"If-Match": if_match} if if_match else {}
    answer = await admin.patch(f"{MEMBERS}/{bob['id']}", json={"display_name": "Robert"}, headers=headers)
    assert answer.status_code == status


async def test_an_edit_that_changes_nothing_leaves_no_trace(as_: As, acme: uuid.UUID, database: Database) -> None:
    admin = as_("admin", acme)
    bob = await add(admin)
    same = {"display_name": bob["display_name"], "email": bob["email"]}
    answer = await admin.patch(f"{MEMBERS}/{bob['id']}", json=same, headers={"If-Match": '"1"'})
    assert answer.headers["etag"] == '"1"'
    async with database.session(acme) as session:
        id = uuid.UUID(bob["id"])
        assert len((await session.scalars(select(Audit).where(Audit.row_id == id))).all()) == 1
        assert len((await session.scalars(select(Outbox).where(Outbox.row_id == id))).all()) == 2


async def test_an_edit_tells_whoever_carries_the_field(as_: As, acme: uuid.UUID, database: Database) -> None:
    """R-19: the contact address goes to identity and notifier alike; a phone number to nobody."""
    admin = as_("admin", acme)
    bob = await add(admin)

    async def told(version: int, **fields: object) -> list[str]:
        await admin.patch(f"{MEMBERS}/{bob['id']}", json=fields, headers={"If-Match": f'"{version}"'})
        async with database.session(acme) as session:
            query = select(Outbox).where(Outbox.row_id == uuid.UUID(bob["id"])).order_by(Outbox.sequence)
            return [f"{row.type} {row.row_version}" for row in await session.scalars(query)]

    assert (await told(1, phone="+49 30 1"))[2:] == []
    assert (await told(2, email="new@example.org"))[2:] == ["members.member.access.v1 2", "members.member.saved.v1 2"]


async def test_address_and_phone_are_for_those_who_may_see_them(as_: As, acme: uuid.UUID) -> None:
    """A-22: in one, in the list, in filters, in search, in edits."""
    admin, counsellor = as_("admin", acme), as_("counsellor", acme)
    bob = await add(admin, "bob", email="hidden@secret.example", phone="+49 30 777")
    seen = await read(counsellor, bob)
    assert not {"email", "phone"} & set(seen)
    assert (await read(admin, bob))["email"] == "hidden@secret.example"
    assert not {"email", "phone"} & set((await ok(counsellor.get(MEMBERS)))["items"][0])
    refused = await ok(counsellor.get(MEMBERS, params={"email": "hidden@secret.example"}), 403)
    assert refused["permission"] == Permission.MEMBERS_CONTACT
    for text, by in (("hidden", admin), ("secret.ex", admin), ("777", admin)):
        assert [one["id"] for one in (await ok(by.get(MEMBERS, params={"text": text})))["items"]] == [bob["id"]]
        assert (await ok(counsellor.get(MEMBERS, params={"text": text})))["items"] == []
    edit: dict[str, Any] = {"json": {"email": "mine@example.org"}, "headers": {"If-Match": '"1"'}}
    assert (await counsellor.patch(f"{MEMBERS}/{bob['id']}", **edit)).status_code == 403
    assert (await admin.patch(f"{MEMBERS}/{bob['id']}", **edit)).status_code == 200
    bulk = await counsellor.post("/members/v1/bulk/invite", json={"filter": {"email": "hidden@secret.example"}})
    assert bulk.status_code == 403


def test_names_sort_as_the_eye_looks_for_them() -> None:
    given = ["Zoe", "Öztürk", "anna", "Ämilia", "Oskar"]
    assert sorted(given, key=names.sort_key) == ["Ämilia", "anna", "Oskar", "Öztürk", "Zoe"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Müller-Lüdenscheidt", ["muller", "ludenscheidt"]),
        ("anna@exa", ["anna@exa"]),
        ("  Anna   B. ", ["anna", "b"]),
        ("--", []),
        ("a a a", ["a"]),
    ],
)
def test_a_search_looks_for_words(text: str, words: list[str]) -> None:
    assert names.words(text) == words
