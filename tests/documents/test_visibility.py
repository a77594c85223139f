"""Who sees a document, on every route and every link: the uploader, and whom the visibility names. Nobody else."""

import io
import uuid
import zipfile
from typing import Any

import httpx
import pytest

from libs.common.db import Database
from libs.common.permissions import Permission
from services.documents.people.tables import GroupMember
from tests.documents.conftest import DOCUMENTS, Allow, As, Caller, Known

READ = {Permission.DOCUMENTS_READ, Permission.DOCUMENTS_WRITE}
ALL = ["private", "own_or_admin", "staff", "subject", "group"]


async def _sees(caller: Caller, document: dict[str, Any]) -> bool:
    """Asked by every way there is; all must agree."""
    path = f"{DOCUMENTS}/{document['id']}"
    about = {"member_id": document["member_id"]}
    listed = document["name"] in await caller.names(**about)
    zipped = zipfile.ZipFile(io.BytesIO((await caller.get(f"{DOCUMENTS}/zip", params=about)).content)).namelist()
    answers = {
        (await caller.get(path)).status_code,
        (await caller.get(f"{path}/content")).status_code,
        (await caller.client.head(f"{path}/content")).status_code,
        (await caller.client.post(f"{path}/link")).status_code,
    }
    assert answers == ({200} if listed else {404})
    assert (document["name"] in zipped) == listed
    return listed


async def _changes(caller: Caller, document: dict[str, Any]) -> set[int]:
    """The answers to every way of changing it, none of which may work."""
    path, headers = f"{DOCUMENTS}/{document['id']}", {"If-Match": '"1"'}
    return {
        (await caller.client.patch(path, json={"name": "x"}, headers=headers)).status_code,
        (await caller.client.delete(path, headers=headers)).status_code,
        (await caller.client.post(f"{path}/restore")).status_code,
        (await caller.client.post(f"{path}/erase")).status_code,
        (await caller.get(f"{path}/history")).status_code,
    }


async def test_only_the_uploader_sees_it(as_: As, bob: uuid.UUID) -> None:
    """A-34: a document is visible only to its uploader. T-06: private is the default; the admin is blind."""
    carla = as_("counsellor")
    document = await carla.file(bob)
    assert document["visibility"] == "private"
    assert await _sees(carla, document)
    for role in ("counsellor", "coordinator", "supervisor", "admin", "owner", "member"):
        assert not await _sees(as_(role), document)
        assert await _changes(as_(role), document) == {404}


async def test_the_other_tenant_sees_nothing(as_: As, bob: uuid.UUID, globex: uuid.UUID) -> None:
    """R-07, A-34: not even the same member id in another tenant."""
    carla = as_("counsellor")
    document = await carla.file(bob)
    for role in ("counsellor", "admin", "owner"):
        stranger = as_(role, tenant=globex, id=carla.id)
        assert not await _sees(stranger, document)
        assert await _changes(stranger, document) == {404}


async def test_the_next_holder_sees_nothing(as_: As, bob: uuid.UUID) -> None:
    """A-34: another human who takes over the membership is not the uploader."""
    carla = as_("counsellor", holder=1)
    document = await carla.file(bob)
    successor = as_("counsellor", id=carla.id, holder=2)
    assert not await _sees(successor, document)
    assert await _changes(successor, document) == {404}
    assert await _sees(as_("counsellor", id=carla.id, holder=1), document)


async def test_who_is_no_counsellor_any_more_sees_nothing(as_: As, bob: uuid.UUID) -> None:
    """R-10: with the right to read goes what one has uploaded about others."""
    carla = as_("counsellor")
    document = await carla.file(bob)
    assert not await _sees(as_("member", id=carla.id), document)


@pytest.mark.parametrize(
    ("visibility", "seen_by"),
    [
        ("private", set[str]()),
        ("own_or_admin", {"admin", "owner"}),
        ("staff", {"admin", "owner", "counsellor", "coordinator", "supervisor"}),
        ("subject", {"subject"}),
        ("group", {"group"}),
    ],
)
async def test_each_visibility_opens_it_to_those_it_names(
    as_: As, bob: uuid.UUID, allow: Allow, acme: uuid.UUID, database: Database, visibility: str, seen_by: set[str]
) -> None:
    """T-06"""
    await allow(visibilities=ALL)
    carla, in_group, group_id = as_("counsellor"), as_("member"), uuid.uuid4()
    async with database.session(acme) as session:
        session.add(GroupMember(tenant_id=acme, group_id=group_id, member_id=in_group.id, version=1, inside=True))
        session.add(GroupMember(tenant_id=acme, group_id=group_id, member_id=bob, version=1, inside=False))
    group: dict[str, Any] = {"group_id": str(group_id)} if visibility == "group" else {}
    document = await carla.file(bob, visibility=visibility, **group)
    roles = ("admin", "owner", "counsellor", "coordinator", "supervisor", "member")
    callers = {**{role: as_(role) for role in roles}, "subject": as_("member", id=bob), "group": in_group}
    found = {name for name, caller in callers.items() if await _sees(caller, document)}
    assert found == seen_by
    assert await _sees(carla, document)
    assert not await _sees(as_("member", id=bob, holder=2), document)  # whoever comes after the subject


async def test_a_tenant_says_which_visibilities_there_are(as_: As, bob: uuid.UUID, allow: Allow) -> None:
    """T-06: private, until a tenant allows more; the group must be one."""
    carla = as_("counsellor")
    refused = await carla.upload(bob, visibility="staff")
    assert (refused.status_code, refused.json()["code"]) == (422, "visibility_not_allowed")
    await allow(visibilities=["private", "group"])
    groups: list[dict[str, Any]] = [{}, {"group_id": str(uuid.uuid4())}]
    for group in groups:
        refused = await carla.upload(bob, visibility="group", **group)
        assert (refused.status_code, refused.json()["code"]) == (422, "group_not_known")
    document = await carla.file(bob)
    edit = {"visibility": "staff"}
    path = f"{DOCUMENTS}/{document['id']}"
    assert (await carla.client.patch(path, json=edit, headers={"If-Match": '"1"'})).status_code == 422


async def test_what_a_tenant_allows_no_more_opens_nothing(as_: As, bob: uuid.UUID, allow: Allow) -> None:
    """T-06: then it is as good as private, at once."""
    await allow(visibilities=ALL)
    carla, admin = as_("counsellor"), as_("admin")
    documents = [await carla.file(bob, visibility=visibility) for visibility in ("staff", "own_or_admin")]
    await allow(visibilities=["private"])
    for document in documents:
        assert not await _sees(admin, document)
        assert await _changes(admin, document) == {404}
        assert await _sees(carla, document)


async def test_what_is_shown_to_staff_is_changed_by_its_uploader_only(as_: As, bob: uuid.UUID, allow: Allow) -> None:
    """A-35, T-06: others may read; the admin may also change what was opened to admins."""
    await allow(visibilities=["private", "staff", "own_or_admin"], bin_days=7)
    carla, headers = as_("counsellor"), {"If-Match": '"1"'}
    for_staff = await carla.file(bob, visibility="staff")
    for role in ("counsellor", "supervisor", "admin"):
        refused = await as_(role).client.delete(f"{DOCUMENTS}/{for_staff['id']}", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    for_admins = await carla.file(bob, visibility="own_or_admin")
    assert (await as_("admin").client.delete(f"{DOCUMENTS}/{for_admins['id']}", headers=headers)).status_code == 204


async def test_who_sees_a_document_is_said_by_its_uploader_alone(as_: As, bob: uuid.UUID, allow: Allow) -> None:
    """T-06: what was opened to admins, no admin opens to whom it is about."""
    await allow(visibilities=["private", "own_or_admin", "subject"])
    carla = as_("counsellor")
    path = f"{DOCUMENTS}/{(await carla.file(bob, visibility='own_or_admin'))['id']}"
    admin = as_("admin").client
    assert (await admin.patch(path, json={"name": "neu.pdf"}, headers={"If-Match": '"1"'})).status_code == 200
    shown = {"visibility": "subject"}
    assert (await admin.patch(path, json=shown, headers={"If-Match": '"2"'})).status_code == 403
    assert (await carla.client.patch(path, json=shown, headers={"If-Match": '"2"'})).status_code == 200


async def test_a_link_is_good_for_its_holder_and_shows_nothing(as_: As, bob: uuid.UUID) -> None:
    """R-10, A-36: 60 seconds; an attachment of no type, whatever the file is."""
    carla = as_("counsellor")
    document = await carla.file(bob, b"<svg onload='alert(1)'/>", "bild.svg")
    link = (await carla.client.post(f"{DOCUMENTS}/{document['id']}/link")).json()
    assert "X-Amz-Expires=60" in link["url"]
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(link["url"])
        forged = await anybody.get(link["url"].replace("X-Amz-Expires=60", "X-Amz-Expires=6000"))
    assert answer.content == b"<svg onload='alert(1)'/>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert forged.status_code == 403


async def test_break_glass_opens_all_about_a_member_for_a_while_and_is_told(
    as_: As, bob: uuid.UUID, known: Known
) -> None:
    """A-34, T-06, B-40: a reason, a limited time, told to who uploaded, in the history; for reading only."""
    carla, admin, other = as_("counsellor"), as_("admin"), as_("admin")
    document = await carla.file(bob)
    elsewhere = await carla.file(await known(), name="anderswo.pdf")
    asked = {"member_id": str(bob), "reason": "Aufsichtsbehörde fragt nach", "minutes": 5}
    opened = await admin.client.post("/documents/v1/openings", json=asked)
    assert opened.status_code == 201, opened.text
    assert await _sees(admin, document)
    assert not await _sees(admin, elsewhere)
    assert not await _sees(other, document)
    assert not await _sees(as_("counsellor", id=admin.id), document)  # without the right it opens nothing
    assert not await _sees(as_("admin", id=admin.id, holder=2), document)
    path = f"{DOCUMENTS}/{document['id']}"
    assert (await admin.client.delete(path, headers={"If-Match": '"1"'})).status_code == 403

    told = (await carla.get("/documents/v1/openings")).json()["items"]
    assert [(one["opened_by"], one["reason"]) for one in told] == [(str(admin.id), asked["reason"])]
    history = (await carla.get(f"{path}/history")).json()["items"]
    facts = [entry["fact"] for entry in history if entry["actor_id"] == str(admin.id)]
    assert "documents.document.opened" in facts
    assert "documents.document.downloaded" in facts
    for stranger in (other, as_("admin", id=admin.id, holder=2)):
        assert (await stranger.get("/documents/v1/openings")).json()["items"] == []

    assert (await admin.client.delete(f"/documents/v1/openings/{opened.json()['id']}")).status_code == 204
    assert not await _sees(admin, document)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"reason": " ", "minutes": 5}, 400),
        ({"reason": "Prüfung", "minutes": 61}, 400),
        ({"reason": "Prüfung", "minutes": 0}, 400),
        ({"minutes": 5}, 400),
    ],
)
async def test_break_glass_needs_a_reason_and_an_end(
    as_: As, bob: uuid.UUID, asked: dict[str, Any], status: int
) -> None:
    answer = await as_("admin").client.post("/documents/v1/openings", json={"member_id": str(bob), **asked})
    assert answer.status_code == status


async def test_an_opening_ends_by_itself(as_: As, bob: uuid.UUID, acme: uuid.UUID, database: Database) -> None:
    from sqlalchemy import text

    carla, admin = as_("counsellor"), as_("admin")
    document = await carla.file(bob)
    await admin.client.post("/documents/v1/openings", json={"member_id": str(bob), "reason": "Prüfung"})
    assert await _sees(admin, document)
    async with database.session(acme) as session:
        await session.execute(text("UPDATE openings SET until = now() - interval '1 second'"))
    assert not await _sees(admin, document)
