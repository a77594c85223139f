"""Words to tell stories with: what members wants comes in as events, answers are read from the outbox."""

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import msgspec
from httpx import ASGITransport, AsyncClient, Response
from litestar import Litestar
from sqlalchemy import delete, select, update

from libs.common.changes import Event, Outbox
from libs.common.db import PLATFORM
from libs.common.events.members import AccessWanted, TenantSaved
from libs.common.inlets import Inlet, Received, SeenBefore
from libs.common.links import Purpose
from services.identity.beats.rules import MEMBERS, OURS, beat
from services.identity.beats.tables import Beat
from services.identity.doors import Doors
from services.identity.invitations.tables import Invitation, InvitationGeneration
from services.identity.memberships.tables import Membership

ORIGIN = "https://control-centre.test"
PASSWORD = "a horse that reads quietly"
CSRF = {"X-CSRF": "1"}

As = Callable[..., AsyncClient]
"""as_("admin", tenant_id, id=member_id), as_(None): a client that calls with somebody's token."""


class Tenant(msgspec.Struct):
    id: UUID
    slug: str
    saved: TenantSaved
    version: int = 1


class Member(msgspec.Struct):
    """A member as members sees her: what it wants of identity, last said with `wanted.access_version`."""

    tenant: Tenant
    wanted: AccessWanted
    id: UUID

    @property
    def email(self) -> str:
        return self.wanted.email or ""

    @property
    def login(self) -> str:
        return self.wanted.login_name


class World:
    def __init__(self, app: Litestar, doors: Doors, inlet: Inlet) -> None:
        self.app, self.doors, self.inlet = app, doors, inlet
        self._browsers: list[AsyncClient] = []

    # What members says

    async def tenant(self, slug: str | None = None, **fields: Any) -> Tenant:
        slug = slug or f"t{uuid.uuid4().hex[:12]}"
        saved = TenantSaved(
            **{"slug": slug, "display_name": "Acme", "locale": "de", "time_zone": "Europe/Berlin", "state": "open"}
            | fields
        )
        tenant = Tenant(uuid.uuid4(), slug, saved)
        await self.say(tenant.id, tenant.id, tenant.version, saved)
        return tenant

    async def change_tenant(self, tenant: Tenant, **fields: Any) -> None:
        tenant.version += 1
        tenant.saved = msgspec.structs.replace(tenant.saved, **fields)
        await self.say(tenant.id, tenant.id, tenant.version, tenant.saved)

    def member(self, tenant: Tenant, **fields: Any) -> Member:
        """Added, not invited: identity has not heard of her."""
        id = uuid.uuid4()
        known: dict[str, Any] = {
            "access_version": 0,
            "epoch": 0,
            "generation": 0,
            "cut": 0,
            "want": "nothing",
            "way": "mail",
            "blocked": [],
            "locked_until": None,
            "starts_at": None,
            "ends_at": None,
            "login_name": f"bob-{id.hex[:8]}",
            "display_name": "Bob Baumann",
            "email": f"bob-{id.hex}@example.org",
            "locale": None,
            "deadline": datetime.now(UTC) + timedelta(days=28),
            "roles": [],
            "permission_groups": [],
            "granted_by": None,
            "granted_rights": [],
        }
        return Member(tenant, AccessWanted(**known | fields), id)

    def next(self, member: Member, **fields: Any) -> AccessWanted:
        """What members says next, not yet delivered."""
        version = member.wanted.access_version + 1
        member.wanted = msgspec.structs.replace(member.wanted, access_version=version, **fields)
        return member.wanted

    def next_invite(self, member: Member, **fields: Any) -> AccessWanted:
        return self.next(member, want="invited", generation=member.wanted.generation + 1, **fields)

    def next_revoke(self, member: Member) -> AccessWanted:
        return self.next(member, want="nothing", epoch=member.wanted.epoch + 1)

    def next_lock(self, member: Member, block: str = "locked") -> AccessWanted:
        return self.next(member, blocked=[block], cut=member.wanted.cut + 1)

    def next_unlock(self, member: Member) -> AccessWanted:
        return self.next(member, blocked=[])

    async def deliver(self, member: Member, wanted: AccessWanted, event_id: UUID | None = None) -> None:
        await self.say(member.tenant.id, member.id, wanted.access_version, wanted, event_id)

    async def invite(self, member: Member, **fields: Any) -> str:
        """The code in the mail that goes out."""
        await self.deliver(member, self.next_invite(member, **fields))
        return await self.code(member)

    async def revoke(self, member: Member) -> None:
        await self.deliver(member, self.next_revoke(member))

    async def lock(self, member: Member, block: str = "locked") -> None:
        await self.deliver(member, self.next_lock(member, block))

    async def unlock(self, member: Member) -> None:
        await self.deliver(member, self.next_unlock(member))

    async def say(self, tenant_id: UUID, row_id: UUID, version: int, data: Event, id: UUID | None = None) -> None:
        event = Received(id or uuid.uuid4(), tenant_id, datetime.now(UTC), row_id, version, data, None)
        await self.inlet.apply(event)

    async def deliver_together(self, said: Sequence[tuple[Member, AccessWanted, UUID]]) -> None:
        """In one transaction where that goes, as a consumer does with what waits; otherwise one after the other."""
        events: list[Received[Event]] = [
            Received(id, member.tenant.id, datetime.now(UTC), member.id, wanted.access_version, wanted, None)
            for member, wanted, id in said
        ]
        try:
            while events:
                events = events[await self.inlet.apply_together(events) :]
        except SeenBefore:
            for event in events:
                await self.inlet.apply(event)

    async def beats(self, ahead: timedelta, *, members: bool = True, ours: bool = True) -> None:
        """As if both workers and the broker had been there then: no other beat has been."""
        at = datetime.now(UTC) + ahead
        async with self.doors.database.session(PLATFORM) as session:
            await session.execute(delete(Beat))
            await session.execute(delete(Outbox).where(Outbox.type == OURS))
            if members:
                session.add(Beat(service=MEMBERS, at=at))
        await beat(self.doors.database)
        async with self.doors.database.session(PLATFORM) as session:
            sent = {"created_at": at, "published_at": at if ours else None}
            await session.execute(update(Outbox).where(Outbox.type == OURS).values(sent))

    # What identity did

    async def code(self, member: Member, generation: int | None = None) -> str:
        """As notifier derives it for the mail."""
        async with self.doors.database.session(member.tenant.id) as session:
            invitation = (await session.scalars(select(Invitation).where(Invitation.member_id == member.id))).one()
            key = (member.tenant.id, invitation.id, generation or invitation.generation)
            made = await session.get_one(InvitationGeneration, key)
        return self.doors.links.make_code(
            Purpose.INVITATION,
            tenant_id=member.tenant.id,
            id=invitation.id,
            generation=made.generation,
            address=made.address,
            deadline=made.deadline,
        )

    async def membership(self, member: Member) -> Membership:
        async with self.doors.database.session(member.tenant.id) as session:
            return await session.get_one(Membership, (member.tenant.id, member.id))

    async def told(self, tenant_id: UUID, about: UUID | None = None) -> list[Outbox]:
        """The outbox of a tenant, in order."""
        async with self.doors.database.session(tenant_id) as session:
            query = select(Outbox).order_by(Outbox.sequence)
            found = await session.scalars(query if about is None else query.where(Outbox.row_id == about))
            return list(found.all())

    async def facts(self, member: Member) -> list[str]:
        """Short names of all that was told of a member, revocations left out."""
        told = await self.told(member.tenant.id)
        mine = [one for one in told if one.data.get("member_id") == str(member.id)]
        return [_short(one) for one in mine]

    # What people do

    def browser(self, ip: str = "192.0.2.1", **headers: str) -> AsyncClient:
        transport = ASGITransport(cast(Any, self.app), client=(ip, 1234))
        self._browsers.append(AsyncClient(transport=transport, base_url=ORIGIN, headers=headers))
        return self._browsers[-1]

    async def accept(self, code: str, password: str = PASSWORD, browser: AsyncClient | None = None) -> Response:
        browser = browser or self.browser()
        body = {"code": code, "password": password}
        return await browser.post("/identity/v1/invitations/accept", json=body, headers=CSRF)

    async def confirm(self, code: str, browser: AsyncClient) -> Response:
        return await browser.post("/identity/v1/invitations/accept", json={"code": code}, headers=CSRF)

    async def sign_in(
        self,
        tenant: Tenant | None,
        login: str,
        password: str = PASSWORD,
        browser: AsyncClient | None = None,
    ) -> Response:
        body = {"login": login, "password": password} | ({"slug": tenant.slug} if tenant else {})
        return await (browser or self.browser()).post("/identity/v1/sessions", json=body)

    async def token(self, browser: AsyncClient, tenant: Tenant | None = None) -> Response:
        body = {"slug": tenant.slug} if tenant else {}
        return await browser.post("/identity/v1/token", json=body, headers=CSRF)

    async def joined(self, tenant: Tenant, **fields: Any) -> tuple[Member, AsyncClient]:
        """Somebody who was invited, accepted and is signed in."""
        member, browser = self.member(tenant, **fields), self.browser()
        answer = await self.accept(await self.invite(member), browser=browser)
        assert answer.status_code == 200, answer.text
        return member, browser

    async def owner(self, tenant: Tenant, **fields: Any) -> tuple[Member, AsyncClient]:
        return await self.joined(tenant, roles=["owner"], first_owner=True, **fields)

    async def close(self) -> None:
        for browser in self._browsers:
            await browser.aclose()


def _short(row: Outbox) -> str:
    name = row.type.split(".")[2]
    reason = row.data.get("reason")
    return f"{name}({reason})" if reason else name
