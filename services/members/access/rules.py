"""Commands on a member's access. identity carries them out and answers; handlers.py takes the answers."""

import contextlib
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.errors import Conflict
from libs.common.permissions import Permission, Role
from libs.common.tokens import Actor
from services.members import hold
from services.members.access import presets as grants
from services.members.access.limits import InvitationLimitReached, count_invited
from services.members.access.presets import Presets
from services.members.facts import Action, refusal
from services.members.hold import Held
from services.members.people.rules import Profile, add_member, set_address
from services.members.people.tables import Member
from services.members.tasks.rules import settle_tasks

LOCAL_ACCESS_LASTS: Final = timedelta(hours=72)


class LocalAccessOff(Conflict):
    title = "This tenant gives no passwords by hand"


async def invite(
    session: AsyncSession, actor: Actor, member_id: UUID, *, hours: int | None = None, presets: Presets | None = None
) -> Member:
    """For the first time and again: older links are dead, the seat is kept or taken, nothing has to be deleted first.

    Raises NotFound, AlreadyMember, Blocked, EmailMissing, NotPresent, MayNotGrant, SeatLimitReached,
    InvitationLimitReached.
    """
    held = await hold.hold(session, actor, member_id)
    await invite_held(session, actor, held, hours=hours, presets=presets)
    return held.member


async def invite_held(
    session: AsyncSession, actor: Actor, held: Held, *, hours: int | None = None, presets: Presets | None = None
) -> None:
    hold.require(Action.INVITE, held.member, actor)
    await send_invitation(session, actor, held, hours=hours, presets=presets)


async def add(
    session: AsyncSession,
    actor: Actor,
    profile: Profile,
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    presets: Presets | None = None,
    invite: bool | None = None,
    hours: int | None = None,
) -> Member:
    """Two steps, added and then invited; `invite`, or else the tenant's setting, joins them (T-02).

    Raises what people.rules.add_member and invite raise; a setting alone invites only whom it can.
    """
    held = await add_member(session, actor, profile, starts_at=starts_at, ends_at=ends_at, presets=presets)
    if invite:
        hold.require(Action.INVITE, held.member, actor)
        await send_invitation(session, actor, held, hours=hours)
    elif invite is None and held.tenant.invite_on_create and _may_be_invited(actor, held):
        with contextlib.suppress(InvitationLimitReached):
            await send_invitation(session, actor, held, hours=hours)
    return held.member


def _may_be_invited(actor: Actor, held: Held) -> bool:
    possible = refusal(Action.INVITE, held.member.standing(actor.id)) is None
    return possible and held.tenant.seats_free > 0 and Permission.MEMBERS_INVITE in actor.rights


async def readdress(
    session: AsyncSession, actor: Actor, member_id: UUID, *, email: str, hours: int | None = None
) -> Member:
    """R-19: same member, same invitation, same seat; the link that went to the wrong address is dead.

    Raises NotInvited, EmailTaken or AlreadyMember, AddressMalformed, and what invite raises.
    """
    held = await hold.hold(session, actor, member_id, Action.READDRESS)
    before = held.member.email
    await set_address(session, actor, held, email)
    await send_invitation(
        session, actor, held, hours=hours, fact="readdressed", edited={"email": [before, held.member.email]}
    )
    return held.member


async def send_invitation(
    session: AsyncSession,
    actor: Actor,
    held: Held,
    *,
    hours: int | None = None,
    presets: Presets | None = None,
    fact: str = "invited",
    edited: dict[str, object] | None = None,
) -> None:
    """A new generation for a member who is held and may be invited; hours overrides the tenant's.

    Raises InvitationLimitReached before anything is changed; MayNotGrant, SeatLimitReached.
    """
    member = held.member
    assert member.email_key is not None  # noqa: S101 facts.refusal asks for an address
    await count_invited(session, held.tenant, member.email_key, now())
    grants.stand_for(actor, member, presets)
    open_invitation(member, "mail", timedelta(hours=hours) if hours else held.tenant.invitation_lasts)
    await hold.save(session, actor, held, fact, edited=edited)
    if member.generation > 1:
        await settle_tasks(session, member, "renewal_asked")


async def edit_presets(
    session: AsyncSession, actor: Actor, member_id: UUID, presets: Presets, *, version: int
) -> Member:
    """D-16: before she accepts; the link stays as it is. Raises AlreadyMember, MayNotGrant, Outdated."""
    held = await hold.hold(session, actor, member_id, Action.PRESETS, version=version)
    member = held.member
    before = _preset(member)
    grants.stand_for(actor, member, presets)
    if _preset(member) != before:
        member.version += 1
        await hold.save(session, actor, held, "presets_edited", edited={"presets": [before, _preset(member)]})
    return member


async def open_local_access(session: AsyncSession, actor: Actor, member_id: UUID) -> Member:
    """T-11, for people without e-mail: staff may set a first password within 72 hours. She gets no other right.

    Raises LocalAccessOff, HasEmail, InvitationOpen, AlreadyMember, Blocked, SeatLimitReached.
    """
    held = await hold.hold(session, actor, member_id, Action.LOCAL_ACCESS)
    if not held.tenant.local_access:
        raise LocalAccessOff
    grants.clear(held.member)
    grants.stand_for(actor, held.member, Presets(roles=[Role.MEMBER]))
    open_invitation(held.member, "local", LOCAL_ACCESS_LASTS)
    await hold.save(session, actor, held, "local_access_opened")
    return held.member


async def revoke(session: AsyncSession, actor: Actor, member_id: UUID, *, reason: str | None = None) -> Member:
    """Ends invitation, membership, sessions and keys; the seat is free (E-14: she stays in the list).

    Raises NoAccess, IsOwner, IsSelf, NotPresent.
    """
    held = await hold.hold(session, actor, member_id)
    await revoke_held(session, actor, held, reason=reason)
    return held.member


async def revoke_held(session: AsyncSession, actor: Actor, held: Held, *, reason: str | None = None) -> None:
    hold.require(Action.REVOKE, held.member, actor)
    end_access(held.member)
    await hold.save(session, actor, held, "revoked", reason=reason)


def end_access(member: Member) -> None:
    member.access = "revoked"
    member.epoch += 1
    member.login_due_at = None
    member.roles, member.permission_groups = [], []
    if member.outside == "no_seat":
        member.outside = None
    grants.clear(member)


def open_invitation(member: Member, way: str, lasts: timedelta) -> None:
    """A new generation; older links are dead, and nothing is known of its mail."""
    member.access, member.way = "invited", way
    member.generation += 1
    member.invited_at = now()
    member.deadline = member.invited_at + lasts
    member.mail_state, member.mail_reason, member.mail_at = None, None, None


def _preset(member: Member) -> dict[str, list[str]]:
    return {
        "roles": member.preset_roles,
        "permission_groups": member.preset_permission_groups,
        "groups": member.preset_groups,
        "tags": member.preset_tags,
    }
