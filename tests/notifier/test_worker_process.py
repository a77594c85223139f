"""The worker as a process of its own, on a real broker: killed at each step, told everything twice and in any order."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from libs.common.bus import Bus, Sizes
from libs.common.changes import Event
from libs.common.db import now
from libs.common.envelopes import Envelope, seal
from libs.common.events.identity import InvitationEnded, InvitationIssued, MembershipActivated
from libs.common.events.members import MemberErased, MemberSaved, TenantSaved
from libs.common.events.subjects import event_subject, stream_of
from libs.common.stack.nats import Nats
from libs.common.stack.state import State
from libs.common.streams import declare
from tests.conftest import UrlsOf
from tests.notifier.conftest import MAIL_FROM
from tests.notifier.post import Catcher, Member, Post, in_
from tests.parts import folder

pytestmark = pytest.mark.xdist_group("notifier worker")

ROOT = Path(__file__).parents[2]
STREAM_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def broker() -> Iterator[Nats]:
    with folder() as directory:
        nats = Nats(State(directory))
        nats.start()
        asyncio.run(_declare(nats))
        yield nats
        nats.stop()


async def _declare(nats: Nats) -> None:
    bus = Bus(nats.urls["platform"], Sizes(max_bytes=STREAM_BYTES))
    await bus.start()
    await bus.connected(10)
    await declare(bus)
    await bus.close()


class Office:
    """Publishes as other services do, each as its own NATS user, and runs workers."""

    def __init__(self, post: Post, broker: Nats, environ: dict[str, str], log: Path) -> None:
        self.tenant = uuid.uuid4()
        self.post, self._broker, self._environ, self._log = post, broker, environ, log
        self._buses: dict[str, Bus] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    async def publish(self, row: uuid.UUID, event: Event, version: int = 1, *, times: int = 1) -> None:
        tenant = self.tenant
        service = event.type().split(".")[0]
        if service not in self._buses:
            self._buses[service] = Bus(self._broker.urls[service])
            await self._buses[service].start()
            await self._buses[service].connected(10)
        envelope = Envelope(
            id=uuid.uuid4(),
            type=event.type(),
            source=f"/{service}",
            subject=row,
            time=now(),
            tenantid=tenant,
            rowversion=version,
            data=msgspec.Raw(msgspec.json.encode(event)),
        )
        subject = event_subject(event.type(), tenant, row)
        for _ in range(times):  # past the broker's own window for duplicates
            await self._buses[service].publish(stream_of(subject), subject, seal(envelope), id=str(uuid.uuid4()))

    def work(self, failpoint: str = "") -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "libs.common.cli", "work", "notifier"],
                env=self._environ | {"FAILPOINT": failpoint, "SMTP_CONNECTIONS": "1" if failpoint else "2"},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process

    async def until(self, members: list[Member], state: str, *, within: float = 40) -> None:
        """Each of them has a mail in that state."""
        async with asyncio.timeout(within):
            while await self.states(members) != {state}:  # noqa: ASYNC110 another process writes it
                await asyncio.sleep(0.1)

    async def states(self, members: list[Member]) -> set[str]:
        """none: of those who have no mail yet."""
        found = [await self.post.messages(member) for member in members]
        return {messages[-1].state if messages else "none" for messages in found}

    async def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for bus in self._buses.values():
            await bus.close()


@pytest.fixture
async def office(
    post: Post, broker: Nats, urls_of: UrlsOf, keys_dir: Path, catcher: Catcher, tmp_path: Path
) -> AsyncIterator[Office]:
    urls = await urls_of("notifier")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = kept | {
        "DATABASE_URL": urls.app,
        "DATABASE_RELAY_URL": urls.relay,
        "DATABASE_SWEEP_URL": urls.sweep,
        "DATABASE_OPERATOR_URL": urls.operator,
        "NATS_URL": broker.urls["notifier"],
        "NATS_STREAM_BYTES": str(STREAM_BYTES),
        "KEYS_DIR": str(keys_dir),
        "PUBLIC_URL": "http://control-centre.test",
        "IDENTITY_URL": "http://127.0.0.1:1",
        "SMTP_URL": catcher.url,
        "MAIL_FROM": MAIL_FROM,
        "MAIL_LEASE_SECONDS": "1",
        "MAIL_POLL_SECONDS": "0.1",
    }
    office = Office(post, broker, environ, tmp_path / "worker.log")
    await office.publish(office.tenant, _tenant())
    yield office
    await office.close()


def _tenant() -> TenantSaved:
    names = {"slug": "nord", "display_name": "Beratungsstelle Nord", "locale": "de", "time_zone": "Europe/Berlin"}
    return msgspec.convert({**names, "state": "open"}, TenantSaved)


def _member(office: Office) -> Member:
    """Known to nobody yet."""
    id = uuid.uuid4()
    return Member(office.tenant, id, f"{id.hex}@example.test", uuid.uuid4(), generation=1)


def _issued(member: Member) -> InvitationIssued:
    return InvitationIssued(
        invitation_id=member.invitation_id,
        member_id=member.id,
        epoch=0,
        generation=1,
        email=member.email,
        display_name="Kim",
        tenant_name="Beratungsstelle Nord",
        slug="nord",
        locale="de",
        deadline=in_(days=3),
    )


@pytest.mark.parametrize(
    "failpoint",
    [
        "after_attempt_before_commit:2",
        "after_attempt_before_smtp:2",
        "after_smtp_before_result:2",
    ],
)
async def test_a_worker_killed_while_it_sends_loses_nothing(office: Office, failpoint: str) -> None:
    """R-25: one message each, at least one SMTP transaction, at most one duplicate, which says so."""
    await office.post.open_tenant(office.tenant)
    members = [await office.post.add(office.tenant) for _ in range(6)]
    for member in members:
        await office.post.invite(member)
    await _kill_and_go_on(office, failpoint, members)
    doubled = 0
    for member in members:
        mails = office.post.catcher.messages(member.email)
        assert len({mail["message_id"] for mail in mails}) == 1
        (message,) = await office.post.messages(member)
        assert len(mails) == 1 or (len(mails), message.reason) == (2, "maybe_twice")
        doubled += len(mails) - 1
    assert doubled == (1 if failpoint.startswith("after_smtp") else 0)


async def test_a_worker_killed_while_it_takes_events_loses_nothing(office: Office) -> None:
    """R-25: the inbox and the message are one transaction; what was not acknowledged comes again."""
    members = [_member(office) for _ in range(6)]
    for member in members:
        await office.publish(member.invitation_id, _issued(member))
    await _kill_and_go_on(office, "after_effect_before_ack:2", members)
    for member in members:
        assert len(await office.post.messages(member)) == 1
        assert len(office.post.catcher.messages(member.email)) in (1, 2)  # 2: killed while it sent the first ones


async def _kill_and_go_on(office: Office, failpoint: str, members: list[Member]) -> None:
    killed = office.work(failpoint)
    assert await asyncio.to_thread(killed.wait, 60) == -signal.SIGKILL
    office.work()
    await office.until(members, "sent", within=60)


async def test_events_told_three_times_in_any_order_make_one_mail_each(office: Office) -> None:
    """R-25: duplicates and disorder from NATS; an ended invitation stays unsent whatever came first."""
    open_, ended = [_member(office) for _ in range(8)], [_member(office) for _ in range(8)]
    told: list[tuple[Member, Event]] = [(member, _issued(member)) for member in (*open_, *ended)]
    for member in ended:
        ids = {"invitation_id": member.invitation_id, "member_id": member.id}
        told.append((member, InvitationEnded(**ids, epoch=0, generation=1, reason="revoked")))
    random.shuffle(told)
    for member, event in told:
        await office.publish(member.invitation_id, event, times=3)
    office.work()
    await office.until(open_, "sent")
    for member in open_:
        assert len(office.post.catcher.messages(member.email)) == 1
        assert len(await office.post.messages(member)) == 1
    for member in ended:
        (message,) = await office.post.messages(member)
        sent = len(office.post.catcher.messages(member.email))
        assert (message.state, sent) in [("cancelled", 0), ("sent", 1)]  # it may have been on its way


async def test_who_asked_for_an_erasure_hears_that_it_is_done(office: Office) -> None:
    """B-30: published as members' NATS user, also where it comes before the asker is known here."""
    asker, certificate = _member(office), uuid.uuid4()
    await office.publish(uuid.uuid4(), MemberErased(certificate_id=certificate, requested_by=asker.id))
    office.work()
    await asyncio.sleep(1)
    active = MembershipActivated(member_id=asker.id, epoch=0, generation=1, holder=1, way="mail")
    await office.publish(asker.id, active)
    saved = MemberSaved(login_name="ada", display_name="Ada", email=asker.email, locale="de", life="present")
    await office.publish(asker.id, saved)
    await office.until([asker], "sent")
    (mail,) = office.post.catcher.messages(asker.email)
    assert mail["subject"] == "Löschung abgeschlossen"
    assert str(certificate) in mail["text"]
    assert "- Mitglieder" in mail["text"].splitlines()


async def test_two_workers_share_the_work_and_send_each_mail_once(office: Office) -> None:
    members = [_member(office) for _ in range(30)]
    for member in members:
        await office.publish(member.invitation_id, _issued(member))
    office.work()
    office.work()
    await office.until(members, "sent")
    for member in members:
        assert len(office.post.catcher.transactions(member.email)) == 1


async def test_a_worker_told_to_stop_finishes_what_is_in_hand(office: Office) -> None:
    members = [_member(office) for _ in range(10)]
    for member in members:
        await office.publish(member.invitation_id, _issued(member))
    process = office.work()
    await office.until(members[:1], "sent")
    process.terminate()
    assert await asyncio.to_thread(process.wait, 15) == 0
    assert await office.states(members) <= {"sent", "queued", "none"}  # none: the event was not taken yet
