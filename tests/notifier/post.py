"""A small post office for tests: tells notifier what other services would, sends what is due, reads what arrived."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.changes import Event, Outbox
from libs.common.db import Database, now
from libs.common.events.identity import InvitationEnded, InvitationIssued, MembershipActivated, Reason
from libs.common.events.members import AccessWanted, MemberSaved, TenantSaved
from libs.common.inlets import Inlet, Received, inlets
from services.notifier.messages.sender import Sender
from services.notifier.messages.tables import Attempt, Message
from services.notifier.worker import HANDLERS
from tests.parts import free_port


class Catcher:
    """A mail catcher process of one test worker."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.smtp_port, self._page_port = folder, free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.smtp_port}?starttls=no"

    def start(self) -> None:
        place = [str(self._folder), str(self.smtp_port), str(self._page_port)]
        self._process = subprocess.Popen([sys.executable, "-m", "libs.common.stack.catcher", *place])
        for _ in range(200):
            try:
                self._call("GET", "/api/behaviour")
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("the mail catcher did not start")

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def behave(self, *rules: Mapping[str, Any]) -> None:
        self._call("PUT", "/api/behaviour", list(rules))

    def still_to_do(self) -> list[dict[str, Any]]:
        """The rules that wait for a mail; one that has been used up is gone."""
        return list(self._call("GET", "/api/behaviour"))

    def messages(self, to: str) -> list[dict[str, Any]]:
        """Oldest first."""
        found: list[dict[str, Any]] = self._call("GET", f"/api/messages?to={to}")
        return found[::-1]

    def raw(self, id: str) -> bytes:
        with urlopen(f"http://127.0.0.1:{self._page_port}/api/messages/{id}/raw") as answer:
            return bytes(answer.read())

    def transactions(self, to: str) -> list[dict[str, Any]]:
        return [
            one
            for one in self._call("GET", "/api/transactions")
            if any(recipient["address"] == to for recipient in one["recipients"])
        ]

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"http://127.0.0.1:{self._page_port}{path}", data, method=method), timeout=5) as answer:
            return json.loads(answer.read() or b"null")


class Member(msgspec.Struct):
    tenant_id: uuid.UUID
    id: uuid.UUID
    email: str
    invitation_id: uuid.UUID
    version: int = 1
    generation: int = 0


class Post:
    def __init__(self, database: Database, sweeper: AsyncEngine, sender: Sender, catcher: Catcher) -> None:
        self.database, self.sweeper, self.sender, self.catcher = database, sweeper, sender, catcher
        self._inlets: Sequence[Inlet] = inlets(list(HANDLERS), database)

    async def tell(
        self,
        tenant: uuid.UUID,
        event: Event,
        *,
        row: uuid.UUID | None = None,
        version: int = 1,
        id: uuid.UUID | None = None,
    ) -> uuid.UUID:
        """As it would arrive from NATS; gives the event's id."""
        received = Received(
            id=id or uuid.uuid4(),
            tenant_id=tenant,
            time=now(),
            row_id=row or uuid.uuid4(),
            row_version=version,
            data=event,
            traceparent=None,
        )
        stream = f"EV_{event.type().split('.')[0].upper()}"
        await next(inlet for inlet in self._inlets if inlet.stream == stream).apply(received)
        return received.id

    async def open_tenant(self, tenant: uuid.UUID, *, version: int = 1, **fields: Any) -> None:
        saved = {"slug": "nord", "display_name": "Beratungsstelle Nord", "locale": "de", "time_zone": "Europe/Berlin"}
        event = TenantSaved(**{**saved, "state": "open", **fields})
        await self.tell(tenant, event, row=tenant, version=version)

    async def add(self, tenant: uuid.UUID, email: str | None = "", **fields: Any) -> Member:
        """A member as members tells of her, not yet invited. Without an address she gets a new one."""
        # A domain of its own: bounces of one domain are counted over all tests of this worker.
        member = Member(tenant, uuid.uuid4(), f"m{uuid.uuid4().hex}@{uuid.uuid4().hex}.test", uuid.uuid4())
        if email:
            member.email = email
        await self.save(member, **({"email": None} if email is None else {}), **fields)
        return member

    async def save(self, member: Member, **fields: Any) -> None:
        """Her profile as it now is."""
        member.version += 1
        saved = {
            "login_name": "kim",
            "display_name": "Kim Vogt",
            "email": member.email,
            "locale": None,
            "life": "present",
        }
        event = msgspec.convert({**saved, **fields}, MemberSaved)
        await self.tell(member.tenant_id, event, row=member.id, version=member.version)

    async def want(self, member: Member, want: str = "invited", *, epoch: int = 0, **fields: Any) -> None:
        """Her access as members wants it."""
        member.version += 1
        given: dict[str, Any] = {field.name: None for field in msgspec.structs.fields(AccessWanted) if field.required}
        given |= {"access_version": member.version, "epoch": epoch, "generation": member.generation, "cut": 0}
        given |= {"want": want, "way": "mail", "blocked": [], "login_name": "kim", "display_name": "Kim Vogt"}
        given |= {"roles": [], "permission_groups": [], "granted_rights": [], "email": member.email, **fields}
        event = msgspec.convert(given, AccessWanted)
        await self.tell(member.tenant_id, event, row=member.id, version=member.version)

    async def activate(self, member: Member, *, epoch: int = 0, holder: int = 1) -> None:
        member.version += 1
        event = MembershipActivated(
            member_id=member.id, epoch=epoch, generation=member.generation, holder=holder, way="mail"
        )
        await self.tell(member.tenant_id, event, row=member.id, version=member.version)

    async def active(self, tenant: uuid.UUID, **fields: Any) -> Member:
        member = await self.add(tenant, **fields)
        await self.want(member)
        await self.activate(member)
        return member

    async def invite(self, member: Member, *, id: uuid.UUID | None = None, **fields: Any) -> uuid.UUID:
        """identity has issued the next generation; gives the event's id."""
        member.generation = fields.pop("generation", member.generation + 1)
        issued: dict[str, Any] = {
            "invitation_id": member.invitation_id,
            "member_id": member.id,
            "epoch": 0,
            "generation": member.generation,
            "email": member.email,
            "display_name": "Kim Vogt",
            "tenant_name": "Beratungsstelle Nord",
            "slug": "nord",
            "locale": "de",
            "deadline": in_(days=28),
        }
        event = InvitationIssued(**{**issued, **fields})
        return await self.tell(member.tenant_id, event, row=member.invitation_id, version=member.generation, id=id)

    async def end(self, member: Member, reason: Reason, *, generation: int | None = None) -> None:
        event = InvitationEnded(
            invitation_id=member.invitation_id,
            member_id=member.id,
            epoch=0,
            generation=generation or member.generation,
            reason=reason,
        )
        await self.tell(member.tenant_id, event, row=member.invitation_id, version=member.generation)

    async def messages(self, member: Member) -> list[Message]:
        """Her mail log, oldest first."""
        async with self.database.session(member.tenant_id) as session:
            found = select(Message).where(Message.member_id == member.id).order_by(Message.id)
            return list(await session.scalars(found))

    async def message(self, member: Member) -> Message:
        """The newest."""
        return (await self.messages(member))[-1]

    async def attempts(self, message: Message) -> list[Attempt]:
        async with self.database.session(message.tenant_id) as session:
            found = select(Attempt).where(Attempt.message_id == message.id).order_by(Attempt.number)
            return list(await session.scalars(found))

    async def told(self, member: Member) -> list[tuple[str, str | None]]:
        """What notifier told the others of her mail: state and reason, in order."""
        async with self.database.session(member.tenant_id) as session:
            rows = await session.scalars(
                select(Outbox).where(Outbox.type == "notifier.message.changed.v1").order_by(Outbox.sequence)
            )
            mine = [row.data for row in rows if row.data["member_id"] == str(member.id)]
            return [(str(data["state"]), str(data["reason"]) if data["reason"] else None) for data in mine]

    async def make_due(self, message: Message) -> None:
        """As if its time had come."""
        async with self.database.session(message.tenant_id) as session:
            await session.execute(
                text("UPDATE messages SET due_at = now() - interval '1 second' WHERE id = :id"), {"id": message.id}
            )


def in_(**time: float) -> datetime:
    return datetime.now(UTC) + timedelta(**time)
