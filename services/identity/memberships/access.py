"""What members wants, made so (design section 3, *level, not edge*): an event carries the whole wanted state, is
applied only where its access_version is newer, and answered with what came of it: order and repetition do not matter.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.errors import Malformed
from libs.common.events.identity import MembershipActivated, SuspensionRefused
from libs.common.events.members import AccessWanted
from libs.common.inlets import NotYet, Rejected
from libs.common.text import canonical_address
from libs.common.tokens import Actor
from services.identity.invitations import rules as invitations
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


async def apply_access(session: AsyncSession, tenant_id: UUID, member_id: UUID, wanted: AccessWanted) -> None:
    """Raises NotYet before its tenant is known, Rejected for what no repetition makes better."""
    if await find_tenant(session, tenant_id) is None:
        raise NotYet(f"tenant {tenant_id} is not known yet")
    is_owner = await grants.is_owner(session, member_id)
    if is_owner:
        await lock_tenant(session, tenant_id)
    membership = await _lock_or_make(session, tenant_id, member_id)
    if wanted.access_version <= membership.access_version or membership.state == "gone":
        return
    if await grants.is_owner(session, member_id) != is_owner:
        raise NotYet("she became an owner, or stopped being one, meanwhile")
    actor = Actor.system(tenant_id)
    was_over = wanted.epoch > membership.epoch or wanted.want != "invited"
    was_cut = was_over or wanted.cut > membership.cut
    if is_owner and await _would_lose_the_last_owner(session, membership, wanted, over=was_over):
        await _refuse_suspension(session, actor, membership, wanted)
        return
    before = _usable(membership)
    if was_over:
        await invitations.end_open(session, actor, membership, "revoked")
        await rules.end(session, actor, membership)
    elif was_cut:
        await close_member(session, member_id)
    _take(membership, wanted)
    if wanted.want == "gone":
        await _bury(session, membership)
    elif wanted.want == "invited":
        await _invite(session, actor, membership, wanted)
    if before != _usable(membership):
        await rules.raise_av(session, membership)
    await session.flush()


async def _invite(session: AsyncSession, actor: Actor, membership: Membership, wanted: AccessWanted) -> None:
    """One answer per generation; a generation that has ended never opens again."""
    if wanted.generation <= membership.generation:
        return
    membership.generation = wanted.generation
    if membership.state == "active":
        answer = MembershipActivated(
            membership.id, membership.epoch, membership.generation, membership.holder, wanted.way
        )
        await rules.tell(session, actor, membership, answer)
        return
    if wanted.way == "mail" and not wanted.email:
        raise Rejected("an invitation by mail without an address")
    await invitations.issue(session, actor, membership, deadline=wanted.deadline or now() + INVITED_FOR)


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


async def _bury(session: AsyncSession, membership: Membership) -> None:
    """A tombstone: nothing personal stays, and no late event brings anything back."""
    await invitations.forget(session, membership)
    if membership.held_by is not None:
        await persons.forget_membership(session, membership.held_by, membership)
    membership.state, membership.held_by = "gone", None
    membership.login_name = membership.login_key = membership.display_name = ""
    membership.email = membership.email_key = membership.locale = None


async def _lock_or_make(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> Membership:
    blank = {"tenant_id": tenant_id, "id": member_id, "access_version": -1, "state": "none", **_BLANK}
    await session.execute(insert(Membership).values(blank).on_conflict_do_nothing())
    membership = await rules.find_locked(session, member_id)
    assert membership is not None  # noqa: S101 the line above made it
    return membership


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
