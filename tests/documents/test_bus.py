"""The worker on a broker of its own: what the owning services publish, as their own NATS users, has its effect here."""

import asyncio
import uuid
from pathlib import Path

import msgspec
from sqlalchemy import func, select

from libs.common.bus import Bus, Sizes
from libs.common.changes import Event
from libs.common.db import Database, now
from libs.common.envelopes import Envelope, seal
from libs.common.events.documents import MemberDocumentsErased
from libs.common.events.identity import MembershipActivated, MembershipEnded
from libs.common.events.members import MemberErasing
from libs.common.events.subjects import event_subject, stream_of
from libs.common.stack.nats import Nats
from libs.common.stack.state import State
from libs.common.streams import declare
from services.documents.documents.tables import Document
from services.documents.settings import Settings
from services.documents.worker import create_worker
from tests.documents.conftest import As
from tests.documents.test_lifecycle import saved
from tests.ids import new_id

SIZES = Sizes(max_bytes=16 * 1024 * 1024)


async def _publish(bus: Bus, tenant: uuid.UUID, row: uuid.UUID, version: int, event: Event) -> None:
    subject = event_subject(event.type(), tenant, row)
    envelope = Envelope(
        id=uuid.uuid4(),
        type=event.type(),
        source=f"/{bus.user}",
        subject=row,
        time=now(),
        tenantid=tenant,
        rowversion=version,
        data=msgspec.Raw(msgspec.json.encode(event)),
    )
    await bus.publish(stream_of(subject), subject, seal(envelope), id=str(envelope.id), within=5)


async def test_events_of_the_others_have_their_effect_and_the_answer_goes_out(
    as_: As, acme: uuid.UUID, database: Database, settings: Settings, tmp_dir: Path
) -> None:
    """B-25, C-82: member, membership and erasure as members and identity tell of them; the answer on our own stream."""
    nats = Nats(State(tmp_dir))
    await asyncio.to_thread(nats.start)
    buses = {user: Bus(nats.urls[user], SIZES) for user in ("platform", "members", "identity")}
    own = {"nats_url": nats.urls["documents"], "nats_stream_bytes": SIZES.max_bytes}
    worker = create_worker(msgspec.structs.replace(settings, **own))
    running: asyncio.Task[None] | None = None
    try:
        for bus in buses.values():
            await bus.start()
            await bus.connected(10)
        await declare(buses["platform"])
        running = asyncio.create_task(worker.run())
        carla, bob, certificate = as_("counsellor"), new_id(), uuid.uuid4()

        await _publish(buses["members"], acme, bob, 1, saved())
        activated = MembershipActivated(member_id=carla.id, epoch=1, generation=1, holder=1, way="mail")
        await _publish(buses["identity"], acme, carla.id, 1, activated)
        async with asyncio.timeout(20):
            while (answer := await carla.upload(bob)).status_code == 409:  # until the member is known
                assert answer.json()["code"] == "member_not_known_yet"
        assert answer.status_code == 201

        ended = MembershipEnded(member_id=carla.id, epoch=1, holder=1)
        await _publish(buses["identity"], acme, carla.id, 2, ended)
        async with asyncio.timeout(20):
            while not (await as_("admin").get("/documents/v1/hand-overs")).json()["items"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

        await _publish(buses["members"], acme, bob, 2, MemberErasing(certificate_id=certificate))
        subject = event_subject(MemberDocumentsErased.type(), acme, bob)
        async with asyncio.timeout(20):
            found = await _last(buses["platform"], subject)
        assert found.counts == {"about": 1, "uploaded": 0, "uploads": 1, "bytes": 809}
        assert found.certificate_id == certificate
        async with database.session(acme) as session:
            assert await session.scalar(select(func.count()).select_from(Document)) == 0
    finally:
        worker.stop()
        if running is not None:
            await running
        for bus in buses.values():
            await bus.close()
        await asyncio.to_thread(nats.stop)


async def _last(bus: Bus, subject: str) -> MemberDocumentsErased:
    """The newest message of a subject, once there is one."""
    from nats.js.errors import NotFoundError

    while True:
        try:
            message = await bus.js.get_last_msg("EV_DOCUMENTS", subject)
        except NotFoundError:
            await asyncio.sleep(0.05)
            continue
        envelope = msgspec.json.decode(message.data or b"", type=Envelope)
        return msgspec.json.decode(envelope.data, type=MemberDocumentsErased)
