"""members and identity driven at random: commands, clicks and clocks on both sides, the events between them late,
repeated and out of order, and processes that die before their commit or before their ack (both.py).

The model is design section 3.2 and no more: what was answered with success, and what that comes to once all is quiet.
"""

import asyncio
import contextlib
import os
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from libs.common.db import Database, now
from libs.common.errors import Gone
from libs.common.events.identity import InvitationIssued, RenewalAsked
from libs.common.roles import Urls
from services.identity.doors import open_doors
from services.identity.invitations.accepting import AccountMismatch
from services.identity.invitations.rules import AccessBlocked
from services.identity.memberships.tables import Membership
from services.members import facts as f
from services.members.facts import Action
from services.members.people.tables import Member
from tests.conftest import UrlsOf
from tests.faults.both import Both, Command, Letter, dates
from tests.identity.conftest import settings_on
from tests.members.test_machine import COMMANDS, explain

EXAMPLES = int(os.environ.get("EXAMPLES", "12"))
STEPS = int(os.environ.get("STEPS", "40"))

LASTS = timedelta(days=28)
"""An invitation, where the tenant says nothing else (T-01)."""

MOVED = ("locked_until", "starts_at", "ends_at", "login_due_at", "deleted_until")
"""Facts that pass_time moves behind the history's back, as no clock does."""

MEANWHILE = ("", "invite", "revoke", "revoke invite", "revoke invite", "lock", "lock unlock", "lock unlock", "delete")
"""What staff may do while she answers."""
CLICKS = st.sampled_from(["accept", "accept", "accept", "decline", "renew"])
DATES = st.tuples(st.sampled_from([None, -2, 2]), st.sampled_from([None, None, -1, 5]))
"""Days from now to the entry and to the expiry."""
AGAIN = ("published again", "and the inbox has forgotten it")
FATES = st.sampled_from(["done", "done", "done", "rolled back", "not acknowledged", *AGAIN])
SELDOM = st.integers(0, 7).map(lambda n: n == 7)


class Person(msgspec.Struct, eq=False):
    """What was answered about her with success, whichever service did."""

    id: UUID
    login: str
    generation: int = 0
    epoch: int = 0
    deadline: datetime | None = None
    revoked: bool = False
    accepted: set[int] = msgspec.field(default_factory=set)
    """Epochs in which she accepted a link."""
    declined: set[tuple[int, int]] = msgspec.field(default_factory=set)

    def access(self) -> str:
        """Once quiet: after a last revoke, revoked; after a last invite again, active if a link of the same epoch was
        accepted, else only the newest link works, unless that was declined or is too old.
        """
        if self.deadline is None:
            return "none"
        if self.revoked:
            return "revoked"
        if self.epoch in self.accepted:
            return "active"
        if (self.epoch, self.generation) in self.declined:
            return "declined"
        return "expired" if self.deadline <= now() else "invited"

    def is_invited(self) -> None:
        self.generation, self.deadline, self.revoked = self.generation + 1, now() + LASTS, False

    def is_revoked(self) -> None:
        self.epoch, self.revoked = self.epoch + 1, True


class Opened(msgspec.Struct, frozen=True):
    """When a browser got its cookie for the tenant: good for this epoch and this cut, and no other."""

    who: Person
    epoch: int
    cut: int

    def is_good_for(self, row: Member | Membership) -> bool:
        return (self.epoch, self.cut) == (row.epoch, row.cut)


class Machine(RuleBasedStateMachine):
    people = Bundle("people")
    make_both: Any
    run: Any  # a coroutine to its result

    @initialize(target=people, seats=st.integers(3, 4))
    def start(self, seats: int) -> MultipleResults[Person]:
        """The first owner has one of the seats; somebody new is added, somebody else is in already."""
        self.both: Both = self.make_both()
        self.run(self.both.start(seats))
        self.stranger = self.run(self.both.make_account(f"eve-{uuid4().hex}@example.org"))
        self.crowd: list[Person] = []
        self.opened: dict[str, Opened] = {}
        """By cookie."""
        self.tokens: list[tuple[str, Opened]] = []
        new, old = self.add(has_account=False), self.add(has_account=True)
        self.invite(old, meanwhile="", what="accept")
        self.all_is_quiet()
        return multiple(new, old)

    # Staff

    @precondition(lambda self: len(self.crowd) < 5)
    @rule(target=people, has_account=st.booleans())
    def add_another(self, has_account: bool) -> Person:
        return self.add(has_account)

    def add(self, has_account: bool) -> Person:
        """Some have a password here already, from another tenant."""
        person = Person(*self.run(self.both.add()))
        if has_account:
            self.run(self.both.make_account(f"{person.login}@example.org"))
        self.crowd.append(person)
        return person

    @rule(who=people, data=st.data(), dies=SELDOM)
    def command(self, who: Person, data: st.DataObject, dies: bool) -> None:
        """One of those that members takes her to be ready for."""
        standing = self.row(who).standing(uuid4())
        possible = [action for action in [*COMMANDS, Action.DATES] if f.refusal(action, standing) is None]
        action = data.draw(st.sampled_from(possible))
        self.do(who, action, dates(*data.draw(DATES)) if action is Action.DATES else None, dies=dies)

    def do(self, who: Person, action: Action, command: Command | None = None, *, dies: bool = False) -> None:
        was = self.row(who)
        if not self.run(self.both.command(who.id, command or COMMANDS[action], dies=dies)):
            return
        row = self.row(who)
        assert row.cut > was.cut or {*f.blocks(row.facts)} <= {*f.blocks(was.facts)}, "each start of a block is a cut"
        if action in (Action.INVITE, Action.READDRESS):
            who.is_invited()
        elif action is Action.REVOKE or (action is Action.DELETE and was.access == "invited"):
            who.is_revoked()

    # People

    @rule(who=people, meanwhile=st.sampled_from(MEANWHILE), what=CLICKS)
    def invite(self, who: Person, meanwhile: str, what: str) -> None:
        """She answers while staff do something: each is answered before either service hears of the other's."""
        if self.row(who).access == "active":
            self.do(who, Action.REVOKE)
        self.do(who, Action.INVITE)
        self.run(self.both.hand_over_all(to=self.both.identity))
        mails = self.mails(who)
        for action in meanwhile.split():
            self.do(who, Action(action))
        if mails:
            self.answer(who, mails[-1], what)

    @rule(who=people, nth=st.integers(1, 3), what=CLICKS)
    def click(self, who: Person, nth: int, what: str) -> None:
        """On the link of one of her last mails."""
        if mails := self.mails(who)[-nth:]:
            self.answer(who, mails[0], what)

    @precondition(lambda self: self.opened)
    @rule(data=st.data(), signs_in=st.booleans())
    def come_back(self, data: st.DataObject, signs_in: bool) -> None:
        """In a browser in which she was signed in once, or in a new one."""
        secret = [*self.opened][data.draw(st.integers(0, len(self.opened) - 1))]
        if signs_in:
            who = self.opened[secret].who
            self.comes_in(who, self.run(self.both.enter(who.login)))
        else:
            self.token(secret)

    def answer(self, who: Person, mail: InvitationIssued, what: str) -> None:
        match what:
            case "renew":
                self.run(self.both.ask_again(mail))
            case "decline":
                with contextlib.suppress(Gone):
                    self.run(self.both.decline(mail))
                    self.require_unused(who, mail)
                    who.declined.add((mail.epoch, mail.generation))
            case "accept":
                with pytest.raises((AccountMismatch, Gone, AccessBlocked)):
                    self.run(self.both.accept(mail, self.stranger))
                self.accept(who, mail)

    def accept(self, who: Person, mail: InvitationIssued) -> None:
        with contextlib.suppress(Gone, AccessBlocked):
            secret = self.run(self.both.accept(mail))
            self.require_unused(who, mail)
            assert self.run(self.both.membership(who.id)).blocked in ([], ["outside_dates"])
            who.accepted.add(mail.epoch)
            self.comes_in(who, secret)

    def require_unused(self, who: Person, mail: InvitationIssued) -> None:
        """R-05: of all clicks on all links of an epoch one is the last, and none comes after the deadline."""
        assert mail.epoch not in who.accepted
        assert (mail.epoch, mail.generation) not in who.declined
        assert mail.deadline > now()

    def comes_in(self, who: Person, secret: str | None) -> None:
        if secret is not None:
            membership = self.run(self.both.membership(who.id))
            self.opened[secret] = Opened(who, membership.epoch, membership.cut)
            assert self.token(secret), "who has just signed in gets a token"

    def token(self, secret: str) -> bool:
        """Whether there is one; if so, then not for an older epoch or cut than identity knows."""
        opened = self.opened[secret]
        token = self.run(self.both.token(secret))
        if token is not None:
            assert opened.is_good_for(self.run(self.both.membership(opened.who.id)))
            self.tokens.append((token, opened))
        return token is not None

    # Processes and clocks

    @rule(data=st.data(), fates=st.lists(FATES, min_size=1, max_size=5))
    def events_arrive(self, data: st.DataObject, fates: list[str]) -> None:
        """Not always the oldest. What was rolled back or not acknowledged comes again later; what was published again,
        by a relay that died before it had marked it or by a republish, has mostly been there before.
        """
        for fate in fates:
            letters = self.both.sent if fate in AGAIN else self.both.bus
            if letters:
                letter = letters[data.draw(st.integers(0, len(letters) - 1))]
                if fate == "done":
                    letters.remove(letter)
                self.hand_over(letter, dies=fate == "rolled back", forgotten=fate == "and the inbox has forgotten it")

    @rule(
        by=st.sampled_from([timedelta(hours=2), timedelta(days=3), timedelta(days=29)]),
        swept=st.sampled_from(["", "members", "identity", "identity members"]),
    )
    def time_passes(self, by: timedelta, swept: str) -> None:
        """Clocks strike late, and not in both services at once."""
        self.run(self.both.pass_time(by))
        self.tokens.clear()
        for person in self.crowd:
            person.deadline = person.deadline and person.deadline - by
        for name in swept.split():
            self.run(self.both.sweep(getattr(self.both, name)))

    def hand_over(self, letter: Letter, **how: bool) -> None:
        """A renewal is the one event that invites: only who let her invitation lapse, and is neither in nor out."""
        self.run(self.both.hand_over(letter, **how))
        asked = letter.event.data
        who = next((one for one in self.crowd if isinstance(asked, RenewalAsked) and one.id == asked.member_id), None)
        if who and (row := self.row(who)).generation > who.generation:
            assert who.access() == "expired"
            assert not row.locked
            assert not row.deactivated
            who.is_invited()

    # What holds

    @invariant()
    def seats_are_the_facts(self) -> None:
        """R-08, at every moment."""
        tenant, members = self.run(self.both.seats())
        held = [f.seat(member.facts) for member in members]
        assert (tenant.seats_used, tenant.seats_reserved) == (held.count("used"), held.count("reserved"))
        assert tenant.seats_used + tenant.seats_reserved <= tenant.seat_limit

    @precondition(lambda self: self.both.bus)
    @rule()
    def all_is_quiet(self) -> None:
        clocks = (self.both.members, self.both.identity)
        while self.both.bus or any(self.run(self.both.sweep(one)) for one in clocks):
            while self.both.bus:
                self.hand_over(self.both.bus.pop())
        for who in self.crowd:
            row = self.row(who)
            self.the_services_agree(who, row)
            self.only_the_newest_link_lives(who, row)
            self.only_the_newest_sessions_live(who, row)
            self.the_history_explains(who, row)

    def teardown(self) -> None:
        if hasattr(self, "crowd"):
            self.all_is_quiet()
            for who in self.crowd:
                assert (self.run(self.both.enter(who.login)) is not None) == (self.row(who).column == "active")

    def the_services_agree(self, who: Person, row: Member) -> None:
        membership = self.run(self.both.membership(who.id))
        assert (row.access, row.epoch, row.generation) == (who.access(), who.epoch, who.generation)
        assert (membership.state == "active") == (row.access == "active")
        assert membership.blocked == f.blocks(row.facts)
        assert row.roles == (["member"] if row.access == "active" else [])
        for name in ("access_version", "epoch", "cut", "starts_at", "ends_at", "locked_until", "email"):
            assert getattr(membership, name) == getattr(row, name), name
        if row.access in ("invited", "active"):
            assert membership.generation == row.generation
        if row.access == "active":
            assert membership.holder == row.holder

    def only_the_newest_link_lives(self, who: Person, row: Member) -> None:
        """R-03: one mail for each generation, and at most one link that works."""
        mine = self.mails(who)
        assert len({mail.generation for mail in mine}) == len(mine)
        live = [mail.generation for mail in mine if self.run(self.both.is_live(mail))]
        assert live == ([row.generation] if row.access == "invited" else [])

    def only_the_newest_sessions_live(self, who: Person, row: Member) -> None:
        """R-10"""
        active = row.column == "active"
        for token, opened in self.tokens:
            if opened.who is who and self.both.is_taken(token):
                assert active
                assert opened.is_good_for(row)
        for secret, opened in self.opened.items():
            if opened.who is who:
                assert self.token(secret) == (active and opened.is_good_for(row))

    def the_history_explains(self, who: Person, row: Member) -> None:
        """R-26, in both services."""
        told = self.run(self.both.history(self.both.members, who.id))
        explain(row, [details for _, details in told], moved=MOVED)
        active, open = False, None
        for fact, details in self.run(self.both.history(self.both.identity, who.id)):
            match fact.removeprefix("identity.").removesuffix(".v1"):
                case "membership.activated":
                    active = True
                case "membership.ended":
                    active = False
                case "invitation.issued":
                    assert open is None, "a link was issued while another one was open"
                    open = details["generation"]
                case "invitation.ended":
                    assert open == details["generation"]
                    open = None
        assert active == (row.access == "active")
        assert open == (row.generation if row.access == "invited" else None)

    # Helpers

    def row(self, who: Person) -> Member:
        return self.run(self.both.member(who.id))  # type: ignore[no-any-return]

    def mails(self, who: Person) -> list[InvitationIssued]:
        return [mail for mail in self.both.mails if mail.member_id == who.id]


@pytest.mark.timeout(600)
def test_members_and_identity_agree_once_all_is_quiet(urls_of: UrlsOf, keys_dir: Path) -> None:
    """R-03, R-04, R-05, R-08, R-10, R-25, R-26: whatever happens in whatever order, twice, late or cut off halfway."""
    with asyncio.Runner() as runner:
        members: Urls = runner.run(urls_of("members"))  # type: ignore[arg-type]
        identity: Urls = runner.run(urls_of("identity"))  # type: ignore[arg-type]
        database = Database(members.app)
        doors = open_doors(settings_on(identity, keys_dir), Database(identity.app))

        class Driven(Machine):
            make_both = staticmethod(partial(Both, database, doors))
            run = staticmethod(runner.run)

        try:
            run_state_machine_as_test(
                Driven,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    print_blob=True,
                ),
            )
        finally:
            for closing in (doors.outgoing.aclose, doors.database.close, database.close):
                runner.run(closing())
