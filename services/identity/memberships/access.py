"""What members wants, made so (design section 3, *level, not edge*): an event carries the whole wanted state, is
applied only where its access_version is newer, and answered with what came of it: order and repetition do not matter.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.errors import Malformed
from libs.common.events.identity import MembershipActivated, SuspensionRefused
from libs.common.events.members import AccessWanted
from libs.common.inlets import NotYet, Received, Rejected, caused_by
from libs.common.text import canonical_address
from libs.common.tokens import Actor
from services.identity.invitations.rules import announce, end_open, forget, lock_invitations, open_invitation
from services.identity.invitations.tables import Invitation
from services.identity.memberships import rules
from services.identity.memberships.names import login_key
from services.identity.memberships.standing import bar_to_sign_in
from services.identity.memberships.tables import Membership
from services.identity.persons import rules as persons
from services.identity.roles import grants
from services.identity.sessions.closing import close_member
from services.identity.tenants.rules import find_tenant, lock_tenant

INVITED_FOR = timedelta(days=28)
"""Where members names no deadline (T-01)."""


async def apply_access(session: AsyncSession, events: Sequence[Received[AccessWanted]]) -> None:
    """Of several members of one tenant. Everybody's row first, then the invitations that come of it.

    Raises NotYet before the tenant is known, Rejected for what no repetition makes better.
    """
    tenant_id, member_ids = events[0].tenant_id, sorted(event.row_id for event in events)
    tenant = await find_tenant(session, tenant_id)
    if tenant is None:
        raise NotYet(f"tenant {tenant_id} is not known yet")
    owners = await grants.owners_among(session, member_ids)
    if owners:
        await lock_tenant(session, tenant_id)
    memberships = await _lock_or_make(session, tenant_id, member_ids)
    invitations = await lock_invitations(session, member_ids)
    if await grants.owners_among(session, member_ids) != owners:
        raise NotYet("one became an owner, or stopped being one, meanwhile")
    actor = Actor.system(tenant_id)
    opened = []
    for event in events:
        membership, invitation = memberships[event.row_id], invitations.get(event.row_id)
        with caused_by(event):
            change = _Change(membership, invitation, event.data, is_owner=event.row_id in owners)
            if await _apply(session, actor, change):
                deadline = event.data.deadline or now() + INVITED_FOR
                fresh = await open_invitation(session, actor, invitation, membership, deadline=deadline)
                opened.append((event, fresh))
    await session.flush()  # a new invitation gets its id
    for event, fresh in opened:
        with caused_by(event):
            announce(session, actor, fresh, memberships[event.row_id], tenant)


class _Change(msgspec.Struct, frozen=True):
    """A locked membership, and what is wanted of it."""

    membership: Membership
    invitation: Invitation | None
    wanted: AccessWanted
    is_owner: bool


async def _apply(session: AsyncSession, actor: Actor, change: _Change) -> bool:
    """Whether an invitation is to be opened under the membership's generation."""
    membership, wanted = change.membership, change.wanted
    if wanted.access_version <= membership.access_version or membership.state == "gone":
        return False
    was_over = wanted.epoch > membership.epoch or wanted.want != "invited"
    was_cut = was_over or wanted.cut > membership.cut
    if change.is_owner and await _would_lose_the_last_owner(session, membership, wanted, over=was_over):
        await _refuse_suspension(session, actor, membership, wanted)
        return False
    before, invited = _usable(membership), False
    if was_over:
        await end_open(session, actor, change.invitation, "revoked")
        await rules.end(session, actor, membership)
    elif was_cut:
        await close_member(session, membership.id)
    _take(membership, wanted)
    if wanted.want == "gone":
        await _bury(session, membership, change.invitation)
    elif wanted.want == "invited":
        invited = await _answer(session, actor, membership, wanted)
    if before != _usable(membership):
        await rules.raise_av(session, membership)
    return invited


async def _answer(session: AsyncSession, actor: Actor, membership: Membership, wanted: AccessWanted) -> bool:
    """One answer per generation; a generation that has ended never opens again. True: by an invitation."""
    if wanted.generation <= membership.generation:
        return False
    membership.generation = wanted.generation
    if membership.state == "active":
        answer = MembershipActivated(
            membership.id, membership.epoch, membership.generation, membership.holder, wanted.way
        )
        await rules.tell(session, actor, membership, answer)
        return False
    if wanted.way == "mail" and not wanted.email:
        raise Rejected("an invitation by mail without an address")
    return True


async def _would_lose_the_last_owner(
    session: AsyncSession, membership: Membership, wanted: AccessWanted, *, over: bool
) -> bool:
    """Asked with the tenant locked (R-09). An owner who could not sign in before is not lost by this."""
    if bar_to_sign_in(membership, now(), owner=True) is not None:
        return False
    waits = wanted.starts_at is not None and wanted.starts_at > now()
    if not over and not wanted.blocked and not waits:
        return False
    return not await grants.other_owners(session, membership.id)


async def _refuse_suspension(session: AsyncSession, actor: Actor, membership: Membership, wanted: AccessWanted) -> None:
    """She stays able to sign in, under the new epoch and cut; sessions of the old ones are over. members restores."""
    if wanted.want == "gone":
        raise NotYet("the last owner of a tenant is not erased; somebody else has to become owner first")
    _take(membership, wanted)
    membership.want, membership.blocked, membership.starts_at = "invited", [], None
    membership.generation = max(membership.generation, wanted.generation)
    await close_member(session, membership.id)
    answer = SuspensionRefused(membership.id, membership.epoch, membership.holder)
    await rules.tell(session, actor, membership, answer)


async def _bury(session: AsyncSession, membership: Membership, invitation: Invitation | None) -> None:
    """A tombstone: nothing personal stays, and no late event brings anything back."""
    if invitation is not None:
        await forget(session, invitation)
    if membership.held_by is not None:
        await persons.forget_membership(session, membership.held_by, membership)
    membership.state, membership.held_by = "gone", None
    membership.login_name = membership.login_key = membership.display_name = ""
    membership.email = membership.email_key = membership.locale = None


async def _lock_or_make(
    session: AsyncSession, tenant_id: UUID, member_ids: Sequence[UUID]
) -> Mapping[UUID, Membership]:
    found = await rules.lock_all(session, member_ids)
    if missing := [member_id for member_id in member_ids if member_id not in found]:
        blank = {"tenant_id": tenant_id, "access_version": -1, "state": "none", **_BLANK}
        await session.execute(
            insert(Membership).on_conflict_do_nothing(), [{**blank, "id": member_id} for member_id in missing]
        )
        found |= await rules.lock_all(session, missing)
    return found


_BLANK: dict[str, object] = {
    **dict.fromkeys(("epoch", "cut", "generation", "holder", "av"), 0),
    **dict.fromkeys(("login_name", "login_key", "display_name"), ""),
    **dict.fromkeys(("blocked", "preset_roles", "preset_groups", "preset_rights"), ()),
    "want": "nothing",
    "way": "mail",
    "first_owner": False,
}

_SAME_NAME = (
    "access_version", "epoch", "cut", "want", "way", "blocked", "locked_until", "starts_at", "ends_at",
    "login_name", "display_name", "email", "locale", "first_owner",
)  # fmt: skip


def _take(membership: Membership, wanted: AccessWanted) -> None:
    for field in _SAME_NAME:
        setattr(membership, field, getattr(wanted, field))
    membership.login_key = login_key(wanted.login_name)
    try:
        membership.email_key = canonical_address(wanted.email) if wanted.email else None
    except Malformed as error:
        raise Rejected("the address is none") from error
    membership.preset_roles = wanted.roles
    membership.preset_groups = wanted.permission_groups
    membership.preset_rights = wanted.granted_rights
    membership.presets_by = wanted.granted_by


def _usable(membership: Membership) -> tuple[object, ...]:
    """Where this changes, tokens from before say something that is no longer so."""
    return (
        membership.state,
        membership.epoch,
        membership.cut,
        tuple(membership.blocked),
        membership.starts_at,
        membership.ends_at,
    )
