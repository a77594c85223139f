"""What events of the others do here, in any order and however often they come; hand-over and erasure."""

import itertools
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from httpx import Response
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.changes import Audit, Event, Outbox
from libs.common.db import Database, now
from libs.common.envelopes import Envelope, seal
from libs.common.events.identity import MembershipActivated, MembershipEnded
from libs.common.events.members import AccessWanted, GroupMemberSaved, MemberErasing, MemberSaved
from libs.common.events.subjects import events_of
from libs.common.inlets import inlets
from libs.common.sweeps import sweep_once
from services.documents.documents.tables import Document
from services.documents.edges import Edges
from services.documents.erasures.sweeps import DELETIONS_DUE, SWEEPS, delete_in_store
from services.documents.people.tables import GroupMember, Member
from services.documents.uploads.tables import Upload
from services.documents.work import work_once
from services.documents.worker import HANDLERS
from tests.documents.conftest import UPLOADS, As, Caller, Known

HAND_OVERS = "/documents/v1/hand-overs"

Tell = Callable[..., Awaitable[bool]]


@pytest.fixture
def tell(database: Database, acme: uuid.UUID) -> Tell:
    """await tell(event, row_id, version): as the consumer gets it from the bus. Gives whether it was new."""
    by_stream = {inlet.stream: inlet for inlet in inlets(list(HANDLERS), database)}

    async def receive(event: Event, row_id: uuid.UUID, version: int, *, id: uuid.UUID | None = None) -> bool:
        envelope = Envelope(
            id=id or uuid.uuid4(),
            type=event.type(),
            source="/test",
            subject=row_id,
            time=now(),
            tenantid=acme,
            rowversion=version,
            data=msgspec.Raw(msgspec.json.encode(event)),
        )
        inlet = by_stream[events_of(event.type().split(".")[0])]
        received = inlet.read(seal(envelope))
        assert received is not None
        return await inlet.apply(received)

    return receive


def saved(life: str = "present") -> MemberSaved:
    return MemberSaved(login_name="b", display_name="Bob", email=None, locale=None, life=life)  # type: ignore[arg-type]


def access(version: int, want: str = "invited", blocked: list[str] | None = None) -> AccessWanted:
    nothing: Any = None
    return msgspec.convert(
        {
            **dict.fromkeys(AccessWanted.__struct_fields__, nothing),
            "access_version": version,
            "epoch": 1,
            "generation": 1,
            "cut": 0,
            "want": want,
            "way": "mail",
            "blocked": blocked or [],
            "login_name": "b",
            "display_name": "Bob",
            "roles": [],
            "permission_groups": [],
            "granted_rights": [],
            "first_owner": False,
        },
        AccessWanted,
    )


def activated(member: uuid.UUID, holder: int = 1) -> MembershipActivated:
    return MembershipActivated(member_id=member, epoch=1, generation=1, holder=holder, way="mail")


def ended(member: uuid.UUID, holder: int = 1) -> MembershipEnded:
    return MembershipEnded(member_id=member, epoch=1, holder=holder)


async def _member(database: Database, tenant: uuid.UUID, id: uuid.UUID) -> Member | None:
    async with database.session(tenant) as session:
        return await session.get(Member, (tenant, id))


async def test_the_projection_is_the_same_in_any_order(database: Database, acme: uuid.UUID, tell: Tell) -> None:
    """Levels, not edges: whatever order and repetition, the newest of each counts."""
    facts: list[tuple[Event, int]]
    orders = list(itertools.permutations(range(6)))
    for order in random.Random(1).sample(orders, 40):
        bob = uuid.uuid4()
        facts = [
            (saved(), 1),
            (saved("marked_deleted"), 2),
            (access(1), 1),
            (access(2, "nothing"), 2),
            (activated(bob), 1),
            (ended(bob), 2),
        ]
        for index in order + order[:2]:
            event, version = facts[index]
            await tell(event, bob, version)
        member = await _member(database, acme, bob)
        assert member is not None
        assert (member.life, member.wanted, member.active, member.holder) == ("marked_deleted", False, False, 1), order


async def test_an_event_has_its_effect_once(as_: As, acme: uuid.UUID, tell: Tell) -> None:
    bob, id = uuid.uuid4(), uuid.uuid4()
    assert await tell(saved(), bob, 1, id=id)
    assert not await tell(saved(), bob, 1, id=id)
    await as_("counsellor").file(bob)


async def test_groups_follow_their_events(database: Database, acme: uuid.UUID, tell: Tell) -> None:
    group, bob, row = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    for version, inside in ((2, False), (1, True), (3, True), (2, False)):
        await tell(GroupMemberSaved(group_id=group, member_id=bob, inside=inside), row, version)
    async with database.session(acme) as session:
        assert await session.scalar(select(GroupMember.inside).where(GroupMember.group_id == group))


async def _open(as_: As) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await as_("admin").get(HAND_OVERS)).json()["items"]
    return items


async def _events(database: Database, tenant: uuid.UUID, type: str) -> list[dict[str, object]]:
    async with database.session(tenant) as session:
        return list(await session.scalars(select(Outbox.data).where(Outbox.type == type).order_by(Outbox.sequence)))


async def test_who_leaves_is_asked_for(
    as_: As, bob: uuid.UUID, acme: uuid.UUID, tell: Tell, database: Database
) -> None:
    """C-82, R-11: staff are asked, once, how much there is and nothing more; nothing is lost or shown meanwhile."""
    carla = as_("counsellor")
    await tell(activated(carla.id), carla.id, 1)
    for _ in range(2):
        await carla.file(bob)
    await tell(ended(carla.id), carla.id, 2)
    await tell(ended(carla.id), carla.id, 3)
    [asked] = await _open(as_)
    assert (asked["member_id"], asked["documents"], asked["bytes"]) == (str(carla.id), 2, 1618)
    assert not {"name", "names"} & asked.keys()
    assert await _events(database, acme, "documents.hand_over.asked.v1") == [
        {"member_id": str(carla.id), "holder": 1, "documents": 2}
    ]
    assert await as_("admin").names(member_id=bob) == []
    assert (await as_("counsellor").get(HAND_OVERS)).status_code == 403
    assert (await as_("admin", tenant=uuid.uuid4()).get(HAND_OVERS)).json()["items"] == []


async def test_a_deactivated_uploader_is_asked_for_until_she_is_back(as_: As, bob: uuid.UUID, tell: Tell) -> None:
    """R-11, B-20: de-provisioning opens the question; nothing is lost; coming back withdraws it."""
    carla = as_("counsellor")
    await tell(activated(carla.id), carla.id, 1)
    await carla.file(bob)
    await tell(access(2, blocked=["deactivated"]), carla.id, 2)
    assert len(await _open(as_)) == 1
    await tell(access(3), carla.id, 3)
    assert await _open(as_) == []
    assert await carla.names() == ["bericht.pdf"]
    await tell(access(4, "nothing"), carla.id, 4)
    assert len(await _open(as_)) == 1


async def test_the_next_holder_does_not_take_the_question_away(as_: As, bob: uuid.UUID, tell: Tell) -> None:
    """C-82: what the former holder left is still to be decided when another one has come, in any order of events."""
    carla = as_("counsellor")
    await carla.file(bob)
    await tell(activated(carla.id, holder=2), carla.id, 3)
    await tell(ended(carla.id, holder=1), carla.id, 2)
    await tell(activated(carla.id, holder=1), carla.id, 1)
    [asked] = await _open(as_)
    assert asked["documents"] == 1
    assert await as_("counsellor", id=carla.id, holder=2).names() == []


async def _leave(as_: As, bob: uuid.UUID, tell: Tell) -> tuple[Any, str]:
    carla = as_("counsellor")
    await tell(activated(carla.id), carla.id, 1)
    await carla.file(bob)
    await tell(ended(carla.id), carla.id, 2)
    [asked] = await _open(as_)
    return carla, f"{HAND_OVERS}/{asked['id']}/settle"


async def test_a_successor_takes_everything_over(
    as_: As, bob: uuid.UUID, tell: Tell, known: Known, database: Database, acme: uuid.UUID
) -> None:
    """C-82: to somebody who is not the actor; private stays private, to the successor."""
    carla, path = await _leave(as_, bob, tell)
    dora, admin = as_("counsellor", id=await known()), as_("admin")
    await known(admin.id)
    gone = await known(active=False)
    for wrong in (admin.id, carla.id, uuid.uuid4(), gone, None):
        choice = {"choice": "successor", **({"successor_id": str(wrong)} if wrong else {})}
        refused = await admin.client.post(path, json=choice)
        assert (refused.status_code, refused.json()["code"]) == (422, "successor_not_allowed"), wrong
    choice = {"choice": "successor", "successor_id": str(dora.id)}
    settled = await admin.client.post(path, json=choice, headers={"Idempotency-Key": "k"})
    assert (settled.status_code, settled.json()["state"]) == (201, "settled")
    again = await admin.client.post(path, json=choice, headers={"Idempotency-Key": "k"})
    assert again.json() == settled.json()
    other = await admin.client.post(path, json=choice)
    assert (other.status_code, other.json()["code"]) == (409, "already_settled")
    assert await dora.names() == ["bericht.pdf"]
    assert await carla.names() == await admin.names(member_id=bob) == []
    assert await _open(as_) == []
    [event] = await _events(database, acme, "documents.hand_over.settled.v1")
    assert event["choice"] == "successor"
    await tell(ended(carla.id), carla.id, 5)
    assert await _open(as_) == []


@pytest.mark.parametrize(("choice", "left"), [("keep", 1), ("erase", 0)])
async def test_or_they_are_kept_or_erased(
    as_: As, bob: uuid.UUID, tell: Tell, database: Database, acme: uuid.UUID, choice: str, left: int
) -> None:
    """C-82, B-20"""
    carla, path = await _leave(as_, bob, tell)
    stranger = as_("admin", tenant=uuid.uuid4())
    assert (await stranger.client.post(path, json={"choice": choice})).status_code == 404
    assert (await as_("admin").client.post(path, json={"choice": choice})).status_code == 201
    async with database.session(acme) as session:
        assert await session.scalar(select(func.count()).select_from(Document)) == left
    await tell(ended(carla.id), carla.id, 9)
    assert await _open(as_) == []
    await tell(activated(carla.id), carla.id, 10)
    assert len(await carla.names()) == left


@pytest.fixture
def worker(database: Database, sweeper: AsyncEngine, edges: Edges) -> Callable[[], Awaitable[None]]:
    async def round() -> None:
        await work_once(DELETIONS_DUE, delete_in_store, edges, sweeper)
        for sweep in SWEEPS:
            await sweep_once(sweep, database, sweeper)

    return round


async def test_erasure_takes_everything_and_confirms_when_it_is_gone(
    as_: As, bob: uuid.UUID, tell: Tell, database: Database, acme: uuid.UUID, edges: Edges,
    worker: Callable[[], Awaitable[None]], known: Known, sweeper: AsyncEngine
) -> None:  # fmt: skip
    """B-25: what is about her and what she uploaded, in the store too; counted; what was said about it forgotten."""
    carla, eva = as_("counsellor"), await known()
    about = await carla.file(bob, name="über bob.pdf")
    await as_("counsellor", id=bob).file(eva, name="von bob.pdf")
    kept = await carla.file(eva, name="bleibt.pdf")
    announced = {"member_id": str(bob), "name": "x", "size": 5, "sha256": "0" * 64}
    assert (await carla.client.post(UPLOADS, json=announced)).status_code == 201
    certificate = uuid.uuid4()
    for version in (7, 8):
        await tell(MemberErasing(certificate_id=certificate), bob, version)
    assert await carla.names() == ["bleibt.pdf"]
    for sweep in SWEEPS:  # nothing is confirmed while objects are there
        await sweep_once(sweep, database, sweeper)
    assert await _events(database, acme, "documents.member.erased.v1") == []
    for _ in range(2):
        await worker()
    [confirmed] = await _events(database, acme, "documents.member.erased.v1")
    counts = {"about": 1, "uploaded": 1, "uploads": 3, "bytes": 1618}
    assert confirmed == {"certificate_id": str(certificate), "counts": counts}
    assert [found.size async for found in edges.store.objects(f"{acme}/")] == [kept["size"]]
    async with database.session(acme) as session:
        said = await session.scalars(select(Audit.details).where(Audit.row_id == uuid.UUID(about["id"])))
        assert set(said.all()) == {None}
        assert await session.scalar(select(func.count()).where(Upload.member_id == bob)) == 0


async def test_an_erased_member_does_not_come_back(
    as_: As, bob: uuid.UUID, tell: Tell, database: Database, acme: uuid.UUID
) -> None:
    """B-25: a tombstone; late events and uploads recreate nothing, known before or not."""
    for member in (bob, uuid.uuid4()):
        await tell(MemberErasing(certificate_id=uuid.uuid4()), member, 5)
        await tell(saved(), member, 99)
        await tell(access(99), member, 99)
        await tell(activated(member), member, 99)
        found = await _member(database, acme, member)
        assert found is not None
        assert (found.life, found.active, found.wanted) == ("erased", False, False)
        assert (await as_("counsellor").upload(member)).status_code == 410


async def _while_uploading(carla: Caller, about: uuid.UUID, happens: Callable[[], Awaitable[object]]) -> Response:
    """The answer to an upload in whose middle something happens."""
    body = b"x" * 1000
    announced = {"member_id": str(about), "name": "x", "size": len(body), "sha256": sha256(body).hexdigest()}
    upload = (await carla.client.post(UPLOADS, json=announced)).json()

    async def slow() -> AsyncIterator[bytes]:
        yield body[:500]
        await happens()
        yield body[500:]

    return await carla.client.put(f"{UPLOADS}/{upload['id']}/content", content=slow())


async def test_an_upload_that_runs_while_its_member_is_erased_is_no_document(
    as_: As, bob: uuid.UUID, tell: Tell, acme: uuid.UUID, edges: Edges, worker: Callable[[], Awaitable[None]]
) -> None:
    """B-25"""
    erasing = MemberErasing(certificate_id=uuid.uuid4())
    answer = await _while_uploading(as_("counsellor"), bob, lambda: tell(erasing, bob, 5))
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_superseded")
    await worker()
    assert [found async for found in edges.store.objects(f"{acme}/")] == []


async def test_an_upload_that_ends_after_its_uploader_has_left_is_asked_for(
    as_: As, bob: uuid.UUID, tell: Tell
) -> None:
    """C-82: nothing is left behind unseen, though nobody had anything to hand over when she left."""
    carla = as_("counsellor")
    await tell(activated(carla.id), carla.id, 1)
    answer = await _while_uploading(carla, bob, lambda: tell(ended(carla.id), carla.id, 2))
    assert answer.status_code == 201
    assert [one["member_id"] for one in await _open(as_)] == [str(carla.id)]


async def test_what_becomes_of_files_in_each_state(as_: As, bob: uuid.UUID, tell: Tell) -> None:
    """C-54, C-60, B-20: kept while inactive and marked; certificates go with anonymising, records stay; then erased."""
    carla = as_("counsellor")
    for kind in ("file", "certificate", "record"):
        await carla.file(bob, name=f"{kind}.pdf", kind=kind)
    everything = ["record.pdf", "certificate.pdf", "file.pdf"]
    await tell(access(2, blocked=["deactivated"]), bob, 2)
    await tell(ended(bob), bob, 2)
    assert await carla.names(member_id=bob) == everything
    await tell(saved("marked_deleted"), bob, 2)
    assert await carla.names(member_id=bob) == everything
    await tell(saved(), bob, 3)
    assert await carla.names(member_id=bob) == everything
    await tell(saved("anonymised"), bob, 4)
    assert await carla.names(member_id=bob) == ["record.pdf"]
    await tell(MemberErasing(certificate_id=uuid.uuid4()), bob, 5)
    assert await carla.names(member_id=bob) == []


async def test_a_subject_sees_from_her_first_acceptance_on(as_: As, tell: Tell) -> None:
    """T-06: filed before she accepted, it is hers who accepts first, and not the next one's."""
    bob = uuid.uuid4()
    await tell(saved(), bob, 1)
    allow = {"visibilities": ["private", "subject"]}
    await as_("admin").client.patch("/documents/v1/settings", json=allow, headers={"If-Match": '"0"'})
    await as_("counsellor").file(bob, visibility="subject")
    await tell(activated(bob, holder=1), bob, 1)
    assert await as_("member", id=bob, holder=1).names(member_id=bob) == ["bericht.pdf"]
    assert await as_("member", id=bob, holder=2).names(member_id=bob) == []


async def test_deletions_are_tried_until_the_store_is_back(
    as_: As, bob: uuid.UUID, tell: Tell, acme: uuid.UUID, edges: Edges, database: Database, sweeper: AsyncEngine
) -> None:
    from services.documents.store import Place, StoreAway

    carla = as_("counsellor")
    await carla.file(bob)
    await tell(MemberErasing(certificate_id=uuid.uuid4()), bob, 5)

    class Away:
        async def delete(self, _: Place) -> None:
            raise StoreAway(retry_after=5)

    broken: Any = msgspec.structs.replace(edges, store=Away())
    due = DELETIONS_DUE
    assert await work_once(due, delete_in_store, broken, sweeper) == 0
    async with database.session(acme) as session:
        attempts, waits = (await session.execute(text("SELECT attempts, due_at FROM deletions"))).one()
        assert attempts == 1
        assert isinstance(waits, datetime)
        assert waits > now()
        await session.execute(text("UPDATE deletions SET due_at = now()"))
    await work_once(due, delete_in_store, edges, sweeper)
    assert [found async for found in edges.store.objects(f"{acme}/")] == []
