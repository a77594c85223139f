"""Who gets which mail (T-07, C-72), in whatever order the facts arrive; and what is left of the erased."""

import itertools
import random
import uuid
from typing import Any

import pytest
from sqlalchemy import select, text

from libs.common.changes import Outbox
from libs.common.events.identity import MembershipActivated, MembershipEnded
from libs.common.events.members import AccessWanted, MemberErasing, MemberSaved
from services.notifier.address_book.matrix import FIXED, MATRIX, Column, may_get
from services.notifier.address_book.rules import column, find_entry
from services.notifier.address_book.tables import Entry
from tests.notifier.conftest import As
from tests.notifier.post import Member, Post, in_


async def _column(post: Post, member: Member) -> str:
    async with post.database.session(member.tenant_id) as session:
        entry = await find_entry(session, member.id)
        assert entry is not None
        return column(entry, in_())


async def _bring_to(post: Post, member: Member, state: str) -> None:
    match state:
        case "invited":
            await post.want(member)
        case "active":
            await post.want(member)
            await post.activate(member)
        case "locked":
            await post.want(member, blocked=["locked"])
        case "inactive":
            await post.want(member, blocked=["outside_dates"])
        case "revoked":
            await post.want(member, "nothing", epoch=1)
        case "marked_deleted" | "anonymised" | "erased":
            await post.save(member, life=state)


@pytest.mark.parametrize("state", list(MATRIX["security"]))
async def test_a_member_stands_in_the_column_that_the_facts_make(post: Post, nord: uuid.UUID, state: str) -> None:
    member = await post.add(nord)
    await _bring_to(post, member, state)
    assert await _column(post, member) == state


def test_the_matrix_is_that_of_the_requirements() -> None:
    """T-07, C-72: rows *security mail* and *other mail* of the status matrix."""
    columns = ["added", "invited", "active", "locked", "inactive", "revoked", "marked_deleted", "anonymised", "erased"]
    security = ["none", "invitation", "all", "all", "all", "removal", "deletion", "none", "none"]
    other = ["none", "none", "all", "none", "none", "none", "none", "none", "none"]
    assert dict(MATRIX["security"]) == dict(zip(columns, security, strict=True))
    assert dict(MATRIX["transactional"]) == dict(zip(columns, other, strict=True))


def test_a_tenant_may_switch_a_cell_but_not_a_fixed_one() -> None:
    """C-72: elsewhere inactive people still get mail; here a tenant may choose so."""
    everything: dict[str, dict[str, str]] = {
        category: dict.fromkeys(columns, "all") for category, columns in MATRIX.items()
    }
    for state in MATRIX["security"]:
        assert may_get(everything, state, "transactional", "other") == (state not in FIXED)
    assert not may_get({}, "inactive", "transactional", "other")
    assert may_get({"transactional": {"inactive": "all"}}, "inactive", "transactional", "other")


async def test_the_switched_cell_lets_mail_through(as_: As, post: Post, nord: uuid.UUID) -> None:
    """T-07: through the settings, until the mail arrives."""
    kim = await post.active(nord)
    await post.want(kim, blocked=["deactivated"])
    admin, body = as_("admin", nord), {"subject": "Hello", "text": "World"}
    path = f"/notifier/v1/members/{kim.id}/direct-messages"
    assert (await admin.post(path, json=body)).status_code == 409
    matrix = {"matrix": {"transactional": {"inactive": "all"}}}
    assert (await admin.patch("/notifier/v1/settings", json=matrix, headers={"If-Match": '"0"'})).status_code == 200
    assert (await admin.post(path, json=body)).status_code == 201
    await post.sender.send_due()
    assert len(post.catcher.messages(kim.email)) == 1


@pytest.mark.parametrize(
    ("state", "mails"),
    [("revoked", ["Ihr Zugang wurde beendet"]), ("marked_deleted", ["Ihre Daten sind zur Löschung vorgemerkt"])],
)
async def test_an_end_of_access_is_told_to_the_member(
    post: Post, nord: uuid.UUID, state: str, mails: list[str]
) -> None:
    """Removal and deletion notices."""
    kim = await post.active(nord)
    await _bring_to(post, kim, state)
    if state == "revoked":
        kim.version += 1
        ended = MembershipEnded(member_id=kim.id, epoch=0, holder=1)
        await post.tell(nord, ended, row=kim.id, version=kim.version)
    await post.sender.send_due()
    assert [mail["subject"] for mail in post.catcher.messages(kim.email)] == mails


async def test_who_is_being_erased_hears_of_nothing_any_more(post: Post, nord: uuid.UUID) -> None:
    kim = await post.active(nord)
    await post.save(kim, life="erasing")
    kim.version += 1
    await post.tell(nord, MembershipEnded(member_id=kim.id, epoch=0, holder=1), row=kim.id, version=kim.version)
    await post.sender.send_due()
    assert post.catcher.messages(kim.email) == []


def _facts(member: uuid.UUID) -> list[tuple[Any, int]]:
    """A life: added, invited, active, revoked, invited again, active again with a new address, locked."""
    saved: dict[str, Any] = {"login_name": "kim", "display_name": "Kim", "locale": None, "life": "present"}
    wanted: dict[str, Any] = {
        "cut": 0, "way": "mail", "locked_until": None, "starts_at": None, "ends_at": None, "login_name": "kim",
        "display_name": "Kim", "email": None, "locale": None, "deadline": None, "roles": [],
        "permission_groups": [], "granted_by": None, "granted_rights": [],
    }  # fmt: skip

    def want(version: int, want: Any, epoch: int, blocked: list[Any]) -> tuple[AccessWanted, int]:
        event = AccessWanted(**wanted, access_version=version, epoch=epoch, generation=1, want=want, blocked=blocked)
        return event, version

    return [
        (MemberSaved(**saved, email="old@example.test"), 1),
        want(1, "nothing", 0, []),
        want(2, "invited", 0, []),
        (MembershipActivated(member_id=member, epoch=0, generation=1, holder=1, way="mail"), 1),
        want(3, "nothing", 1, []),
        (MembershipEnded(member_id=member, epoch=0, holder=1), 2),
        want(4, "invited", 1, []),
        (MembershipActivated(member_id=member, epoch=1, generation=2, holder=2, way="mail"), 3),
        (MemberSaved(**saved, email="new@example.test"), 2),
        want(5, "invited", 1, ["locked"]),
    ]


@pytest.mark.parametrize("seed", range(12))
async def test_the_order_of_the_facts_does_not_matter(post: Post, nord: uuid.UUID, seed: int) -> None:
    """Three streams, each event up to three times, shuffled: the same entry."""
    member = uuid.uuid4()
    told = list(itertools.chain.from_iterable([fact] * 2 for fact in _facts(member)))
    random.Random(seed).shuffle(told)
    # The notice of an ended access waits for the profile, which may come later: it is redelivered then.
    told.sort(key=lambda fact: not isinstance(fact[0], MemberSaved))
    for event, version in told:
        await post.tell(nord, event, row=member, version=version)
    async with post.database.session(nord) as session:
        entry = await find_entry(session, member)
        assert entry is not None
        assert (entry.email, entry.access, entry.epoch, entry.holder) == ("new@example.test", "active", 1, 2)
        assert column(entry, in_()) == "locked"


async def test_nothing_is_left_of_an_erased_member_and_late_events_bring_nothing_back(
    post: Post, nord: uuid.UUID
) -> None:
    """R-23: the tombstone holds; the answer counts what went."""
    kim = await post.add(nord)
    await post.invite(kim)
    await post.sender.send_due()
    certificate = uuid.uuid4()
    await post.tell(nord, MemberErasing(certificate_id=certificate), row=kim.id, version=50)
    kim.version = 60
    await post.save(kim)
    await post.want(kim)
    await post.activate(kim)
    await post.invite(kim)
    assert await post.messages(kim) == []
    async with post.database.session(nord) as session:
        entry = await find_entry(session, kim.id)
        assert entry is not None
        assert (entry.life, entry.email, entry.display_name, entry.access) == ("erased", None, "", "none")
        (answer,) = await session.scalars(select(Outbox).where(Outbox.type == "notifier.member.erased.v1"))
        assert answer.data["certificate_id"] == str(certificate)
        assert answer.data["counts"] == {"direct_messages": 0, "messages": 1, "suppressions": 0}
        assert answer.row_id == kim.id
        for table in ("messages", "message_bodies", "address_book", "attempts"):
            rows = await session.scalars(text(f"SELECT row_to_json({table})::text FROM {table}"))  # noqa: S608
            assert not [row for row in rows if kim.email in row]


def _entry(**fields: Any) -> Entry:
    given: dict[str, Any] = {"life": "present", "access": "active", "blocked": [], "locked_until": None, "epoch": 0}
    return Entry(tenant_id=uuid.uuid4(), member_id=uuid.uuid4(), **{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"blocked": ["locked"], "locked_until": in_(hours=-1)}, "active"),
        ({"blocked": ["locked"], "locked_until": in_(hours=1)}, "locked"),
        ({"blocked": ["locked", "deactivated"]}, "locked"),
        ({"blocked": ["deactivated"], "access": "revoked"}, "inactive"),
        ({"blocked": ["marked_deleted", "locked"]}, "marked_deleted"),
        ({"life": "erasing", "blocked": ["locked"]}, "erased"),
        ({"access": "none"}, "added"),
    ],
)
def test_the_first_column_that_applies_counts(fields: dict[str, Any], expected: Column) -> None:
    assert column(_entry(**fields), in_()) == expected
