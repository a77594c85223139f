"""members and identity in one process, each on its own database with its real rules and handlers. Only the bus is
played: what a relay would publish lies in `bus` until the test hands it over, in whatever order and however often.
"""

import contextlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.bus import Bus
from libs.common.changes import Audit, Outbox
from libs.common.db import Database, now
from libs.common.errors import AppError, Forbidden, Gone, Unauthenticated
from libs.common.events.identity import InvitationIssued
from libs.common.inlets import Inlet, Received, Subscription, on
from libs.common.links import Purpose
from libs.common.relay import Row
from libs.common.revocation import Revocations
from libs.common.sweeps import Sweep
from libs.common.tokens import Actor, TokenVerifier
from services.identity.beats.rules import handlers as beats
from services.identity.doors import Doors
from services.identity.invitations import accepting
from services.identity.invitations.rules import AccessBlocked
from services.identity.invitations.sweeps import deadlines
from services.identity.invitations.tables import Invitation, InvitationGeneration
from services.identity.memberships.handlers import handlers as memberships
from services.identity.memberships.tables import Membership
from services.identity.persons.rules import PersonKnown, make_person
from services.identity.sessions.sign_in import sign_in
from services.identity.tenants.handlers import handlers as tenants
from services.identity.throttling.rules import Browser
from services.identity.tokens.rules import token_for_cookie
from services.members.blocks.rules import set_dates
from services.members.people.tables import Member
from services.members.tenants.tables import Tenant
from services.members.worker import HANDLERS, SWEEPS
from tests.identity.story import PASSWORD, World
from tests.members.conftest import make_tenant, staff
from tests.members.test_races import add

Command = Callable[[AsyncSession, Actor, UUID, int], Awaitable[object]]

DATES: dict[type[Any], tuple[str, ...]] = {
    Member: ("locked_until", "starts_at", "ends_at", "login_due_at", "deleted_until", "deadline", "due_at"),
    Membership: ("locked_until", "starts_at", "ends_at"),
    Invitation: ("deadline",),
    InvitationGeneration: ("deadline",),
}


class Killed(Exception):
    """The process died before its commit."""


async def die(*_: object) -> None:
    raise Killed


class Service:
    """A service's database, its clocks, and what it does with the other's events."""

    def __init__(self, name: str, database: Database, handlers: Sequence[Subscription], sweep: Sweep) -> None:
        self.name, self.database, self.sweep = name, database, sweep
        stream = "EV_IDENTITY" if name == "members" else "EV_MEMBERS"
        self.inlet = Inlet(stream, handlers, database)
        self.doomed = Inlet(stream, [*handlers, *(on(one.event, die) for one in handlers)], database)
        self.published = 0

    def __repr__(self) -> str:
        return self.name


class Letter(msgspec.Struct, eq=False):
    """An event on its way. It keeps its id however often it is published."""

    to: Service
    event: Received[Any]


class Both:
    def __init__(self, members: Database, doors: Doors) -> None:
        from_identity = [one for one in HANDLERS if one.event.type().startswith("identity.")]
        self.members = Service("members", members, from_identity, SWEEPS[0])
        self.identity = Service("identity", doors.database, [*tenants, *memberships, *beats], deadlines)
        self.doors = doors
        self.bus: list[Letter] = []
        self.sent: list[Letter] = []
        """Everything that was ever on the bus."""
        self.mails: list[InvitationIssued] = []
        """What notifier would have mailed, oldest first."""
        self.revocations = Revocations(Bus("nats://nobody@127.0.0.1:1"))
        self.revocations.mark_read()

    async def start(self, seats: int) -> None:
        """A tenant with its first owner, who is invited and never comes."""
        await World(cast(Any, None), self.doors, self.identity.inlet).beats(timedelta(days=1))
        self.tenant = await make_tenant(self.members.database, seats=seats)
        self.actor = staff(self.tenant)
        async with self.members.database.session(self.tenant) as session:
            self.slug = (await session.scalars(select(Tenant.slug))).one()
        await self.publish(self.members)
        await self.hand_over_all()

    # What staff do

    async def add(self) -> tuple[UUID, str]:
        name = f"bob-{uuid.uuid4().hex[:12]}"
        id = await add(self.members.database, self.actor, name)
        await self.publish(self.members)
        return id, name

    async def command(self, id: UUID, command: Command, *, dies: bool = False) -> bool:
        """Whether it was done. dies: when all is written, and before the commit."""
        version = (await self.member(id)).version
        with contextlib.suppress(AppError, Killed):
            async with self.members.database.session(self.tenant) as session:
                await command(session, self.actor, id, version)
                if dies:
                    raise Killed
            await self.publish(self.members)
            return True
        return False

    # What the processes do

    async def publish(self, service: Service) -> None:
        """The relay's work: what was committed since the last look is on the bus, in the broker's form."""
        async with service.database.session(self.tenant) as session:
            query = select(Outbox).where(Outbox.tenant_id == self.tenant, Outbox.sequence > service.published)
            rows = (await session.scalars(query.order_by(Outbox.sequence))).all()
        other = self.identity if service is self.members else self.members
        for row in rows:
            service.published = row.sequence
            data = msgspec.json.encode(row.data)
            if row.subject.startswith("revoked."):
                self.revocations.apply(row.subject, data)
                continue
            if row.type == InvitationIssued.type():
                self.mails.append(msgspec.convert(row.data, InvitationIssued))
            fields = {name: getattr(row, name) for name in Row.__struct_fields__ if name != "data"}
            event = other.inlet.read(Row(**fields, data=data.decode()).body(service.name))
            if event is not None:
                self.sent.append(Letter(other, event))
                self.bus.append(self.sent[-1])

    async def hand_over(self, letter: Letter, *, dies: bool = False, forgotten: bool = False) -> None:
        """To the real handlers. dies: before the commit. forgotten: the inbox does not know its id any more."""
        event = msgspec.structs.replace(letter.event, id=uuid.uuid4()) if forgotten else letter.event
        with contextlib.suppress(Killed):
            await (letter.to.doomed if dies else letter.to.inlet).apply(event)
        await self.publish(letter.to)

    async def hand_over_all(self, to: Service | None = None) -> None:
        """The oldest first, as on a good day."""
        while letter := next((one for one in self.bus if to in (None, one.to)), None):
            self.bus.remove(letter)
            await self.hand_over(letter)

    async def sweep(self, service: Service) -> int:
        """How many were due."""
        async with service.database.session(self.tenant) as session:
            due = (await session.execute(service.sweep.due)).all()
        for tenant_id, id in due:
            async with service.database.session(self.tenant) as session:
                await service.sweep.act(session, tenant_id, id)
        await self.publish(service)
        return len(due)

    async def pass_time(self, by: timedelta) -> None:
        """No test can wait that long, so everything that has a date moves into the past, what is on its way too."""
        for service, tables in ((self.members, [Member]), (self.identity, [*DATES][1:])):
            async with service.database.session(self.tenant) as session:
                for table in tables:
                    await session.execute(
                        update(table).values({name: table.__dict__[name] - by for name in DATES[table]})
                    )
        self.mails = [earlier(mail, by) for mail in self.mails]
        for letter in self.sent:
            letter.event = msgspec.structs.replace(letter.event, data=earlier(letter.event.data, by))

    # What people do

    async def make_account(self, address: str) -> str:
        """Somebody who has a password here already, and no access to this tenant; gives her browser's cookie."""
        async with self.identity.database.session(self.tenant) as session:
            hashed = await self.doors.passwords.hash(PASSWORD)
            await make_person(session, address=address, display_name="Bob", locale="de", password_hash=hashed)
        return await self.sign_in(address, slug=None)

    async def sign_in(self, login: str, slug: str | None) -> str:
        """From a network of its own, so that nobody waits for having been refused before."""
        browser = Browser(str(uuid.uuid4()), "", "")
        return (await sign_in(self.doors, browser, slug=slug, login=login, password=PASSWORD)).secret

    async def accept(self, mail: InvitationIssued, secret: str | None = None) -> str | None:
        """With the cookie of who is signed in here; else as a new person, or as who she is after signing in.

        Gives the cookie, None where she has to wait. Raises Gone, AccessBlocked, AccountMismatch.
        """
        link: dict[str, Any] = {"tenant_id": self.tenant, "code": self._code(mail)}
        if secret is None:
            try:
                browser = Browser("192.0.2.1", "", "")
                accepted = await accepting.accept_as_new(self.doors, browser, **link, password=PASSWORD, secret=None)
            except PersonKnown:
                secret = await self.sign_in(mail.email, slug=None)
        if secret is not None:
            accepted = await accepting.accept_as_person(self.doors, **link, secret=secret)
        await self.publish(self.identity)
        return None if accepted.waits else accepted.entry.secret

    async def decline(self, mail: InvitationIssued) -> None:
        """Raises Gone."""
        await accepting.decline(self.doors, tenant_id=self.tenant, code=self._code(mail))
        await self.publish(self.identity)

    async def ask_again(self, mail: InvitationIssued) -> None:
        await accepting.renew(self.doors, tenant_id=self.tenant, code=self._code(mail))
        await self.publish(self.identity)

    async def is_live(self, mail: InvitationIssued) -> bool:
        """Whether its link leads somewhere, if only after a block is lifted."""
        try:
            await accepting.look(self.doors, tenant_id=self.tenant, code=self._code(mail), secret=None)
        except Gone:
            return False
        except AccessBlocked:
            return True
        return True

    async def enter(self, login: str) -> str | None:
        """The cookie of who may sign in to this tenant by her login name, and has."""
        try:
            secret = await self.sign_in(login, self.slug)
        except (Unauthenticated, Forbidden):
            return None
        await self.publish(self.identity)
        return secret

    async def token(self, secret: str) -> str | None:
        try:
            return (await token_for_cookie(self.doors, secret, self.slug)).access_token
        except (Unauthenticated, Forbidden):
            return None

    def is_taken(self, token: str) -> bool:
        """Whether any of the services would still let it in."""
        verifier = TokenVerifier(self.doors.keys, self.doors.settings.public_url, self.revocations.refuses)
        try:
            verifier.actor(token)
        except Unauthenticated:
            return False
        return True

    def _code(self, mail: InvitationIssued) -> str:
        """As notifier derives it: from what it was told, and the key."""
        return self.doors.links.make_code(
            Purpose.INVITATION,
            tenant_id=self.tenant,
            id=mail.invitation_id,
            generation=mail.generation,
            address=mail.email,
            deadline=mail.deadline,
        )

    # What stands there

    async def member(self, id: UUID) -> Member:
        async with self.members.database.session(self.tenant) as session:
            return await session.get_one(Member, (self.tenant, id))

    async def membership(self, id: UUID) -> Membership:
        async with self.identity.database.session(self.tenant) as session:
            return await session.get_one(Membership, (self.tenant, id))

    async def seats(self) -> tuple[Tenant, Sequence[Member]]:
        async with self.members.database.session(self.tenant) as session:
            return (await session.scalars(select(Tenant))).one(), (await session.scalars(select(Member))).all()

    async def history(self, service: Service, id: UUID) -> list[tuple[str, dict[str, Any]]]:
        """(fact, details) of all that is remembered of a member, in order."""
        async with service.database.session(self.tenant) as session:
            found = (await session.scalars(select(Audit).order_by(Audit.sequence))).all()
        mine = [one for one in found if one.row_id == id or (one.details or {}).get("member_id") == str(id)]
        return [(one.type, one.details or {}) for one in mine]


def dates(starts: int | None, ends: int | None) -> Command:
    """Set entry and expiry, so many days from now."""
    days = [None if n is None else now() + timedelta(days=n) for n in (starts, ends)]

    async def command(session: AsyncSession, actor: Actor, id: UUID, version: int) -> None:
        await set_dates(session, actor, id, starts_at=days[0], ends_at=days[1], version=version)

    return command


def earlier[S: msgspec.Struct](data: S, by: timedelta) -> S:
    moved = {name: getattr(data, name) for name in data.__struct_fields__}
    return msgspec.structs.replace(
        data, **{name: value - by for name, value in moved.items() if isinstance(value, datetime)}
    )
