"""What identity and notifier answer. An answer of an older epoch or generation changes no fact, but the history has it.

Answers may come late, twice and in any order. The sweep of identity, the clicks of people and the commands here race;
(epoch, generation) decides, and whoever reads the history later can see why.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.events import identity, notifier
from libs.common.inlets import Received, caused_by
from libs.common.tokens import Actor
from services.members import hold
from services.members.access import rules
from services.members.access.limits import InvitationLimitReached
from services.members.facts import Action, refusal, seat
from services.members.hold import Held, find_held
from services.members.people.tables import Member
from services.members.tasks.rules import open_task

INVITATION = "invitation"
"""The template whose fate the list shows."""


async def activate(session: AsyncSession, event: Received[identity.MembershipActivated]) -> None:
    """She accepted a link of this epoch, of whatever generation: her reserved seat becomes a used one."""
    told = event.data
    held = await find_held(session, told.member_id)
    if held is None:
        return
    member = held.member
    if told.epoch != member.epoch or member.access != "invited":
        _remember(session, held, "activated", event, epoch=told.epoch, generation=told.generation)
        return
    member.access, member.holder = "active", told.holder
    await hold.save(session, _system(event), held, "activated", way=told.way, holder=told.holder)


async def end_invitation(session: AsyncSession, event: Received[identity.InvitationEnded]) -> None:
    told = event.data
    held = await find_held(session, told.member_id)
    if held is None:
        return
    member = held.member
    newest = (told.epoch, told.generation) == (member.epoch, member.generation)
    if told.reason not in ("expired", "declined") or not newest or member.access != "invited":
        _remember(session, held, f"invitation_{told.reason}", event, epoch=told.epoch, generation=told.generation)
        return
    member.access = told.reason
    await hold.save(session, _system(event), held, f"invitation_{told.reason}")


async def end_membership(session: AsyncSession, event: Received[identity.MembershipEnded]) -> None:
    """identity ended it on its own (the person went): as if revoked. A revoke here is answered for an older epoch."""
    told = event.data
    held = await find_held(session, told.member_id)
    if held is None:
        return
    if told.epoch != held.member.epoch or held.member.access != "active":
        _remember(session, held, "membership_ended", event, epoch=told.epoch)
        return
    rules.end_access(held.member)
    await hold.save(session, _system(event), held, "membership_ended")


async def restore_owner(session: AsyncSession, event: Received[identity.SuspensionRefused]) -> None:
    """R-09: identity kept the last owner able to sign in, so all that shut her out is undone here, seat or no seat."""
    told = event.data
    held = await find_held(session, told.member_id)
    if held is None:
        return
    member = held.member
    if told.epoch != member.epoch or member.life not in ("present", "marked_deleted"):
        _remember(session, held, "suspension_refused", event, epoch=told.epoch)
        return
    member.life, member.deleted_until, member.access = "present", None, "active"
    member.locked, member.locked_until, member.lock_reason = False, None, None
    member.deactivated, member.outside, member.starts_at, member.ends_at = False, None, None, None
    member.roles = sorted({*member.roles, "owner"})
    await hold.save(session, _system(event), held, "suspension_refused", over_limit=True, restored=True)


async def set_roles(session: AsyncSession, event: Received[identity.RolesChanged]) -> None:
    told = event.data
    held = await find_held(session, told.member_id)
    if held is None or event.row_version <= held.member.roles_av or told.epoch != held.member.epoch:
        return
    member = held.member
    before = {"roles": member.roles, "permission_groups": member.permission_groups}
    member.roles, member.permission_groups = sorted(told.roles), sorted(told.permission_groups)
    member.roles_av, member.first_owner = event.row_version, False
    if member.is_owner and member.ends_at is not None:
        await open_task(session, member, "owner_has_expiry", due_at=member.ends_at)
    await hold.save(session, _system(event), held, "roles_changed", before=before, roles=member.roles)


async def refuse_grants(session: AsyncSession, event: Received[identity.GrantsRefused]) -> None:
    held = await find_held(session, event.data.member_id)
    if held is not None:
        await open_task(session, held.member, "grants_refused")
        told = {"roles": event.data.roles, "permission_groups": event.data.permission_groups}
        note(session, _system(event), held.member, "members.member.grants_refused", **told)


async def sign_in(session: AsyncSession, event: Received[identity.SignedIn]) -> None:
    member = await hold.lock_member(session, event.data.member_id)
    if member is None:
        return
    at = event.data.at
    member.last_login_at = max(member.last_login_at, at)
    if member.reactivated_at is not None and at >= member.reactivated_at:
        member.login_due_at = None
    hold.derive(member)
    note(session, _system(event), member, "members.member.signed_in", at=at)


async def note_mails(session: AsyncSession, events: Sequence[Received[notifier.MessageChanged]]) -> None:
    """What became of the newest invitation's mail; copies count like the first."""
    about = [(event, event.data.member_id) for event in events if event.data.template == INVITATION]
    if not about:
        return
    members = await hold.lock_members(session, {member_id for _, member_id in about if member_id})
    for event, member_id in about:
        if member_id in members:
            with caused_by(event):
                _note_mail(session, event, members[member_id])


def _note_mail(session: AsyncSession, event: Received[notifier.MessageChanged], member: Member) -> None:
    told = event.data
    newest = (told.epoch, told.generation) == (member.epoch, member.generation)
    if newest and (member.mail_at is None or told.at >= member.mail_at):
        member.mail_state, member.mail_reason, member.mail_at = told.state, told.reason, told.at
        hold.derive(member)
    if told.state not in ("queued", "sending"):
        about = {"message_id": told.message_id, "state": told.state, "reason": told.reason}
        note(session, _system(event), member, "members.member.mail", generation=told.generation, **about)


async def renew(session: AsyncSession, event: Received[identity.RenewalAsked]) -> None:
    """D-21, T-17: a lapsed invitation is sent again at once, or staff are asked. This door undoes nothing else."""
    told = event.data
    held = await find_held(session, told.member_id)
    if held is None:
        return
    if (told.epoch, told.generation) != (held.member.epoch, held.member.generation) or not _lapsed(held.member):
        _remember(session, held, "renewal_asked", event, epoch=told.epoch, generation=told.generation)
    elif not await _renewed(session, _system(event), held):
        await open_task(session, held.member, "renewal_asked")
        _remember(session, held, "renewal_asked", event, epoch=told.epoch, generation=told.generation)


async def _renewed(session: AsyncSession, system: Actor, held: Held) -> bool:
    """Whether the tenant allows it, nothing blocks her, a seat is free and the tenant's limit is not reached."""
    seat_at_hand = held.tenant.seats_free > 0 or seat(held.facts) is not None
    refused = refusal(Action.INVITE, held.member.standing(system.id))
    if not held.tenant.renewal_allowed or held.member.way != "mail" or refused or not seat_at_hand:
        return False
    try:
        await rules.send_invitation(session, system, held, fact="renewed")
    except InvitationLimitReached:  # raised before anything is changed
        return False
    return True


def _lapsed(member: Member) -> bool:
    over = member.deadline is not None and member.deadline <= now()
    return member.access == "expired" or (member.access == "invited" and over)


def _system(event: Received[Any]) -> Actor:
    return Actor.system(event.tenant_id)


def _remember(session: AsyncSession, held: Held, fact: str, event: Received[Any], **about: object) -> None:
    note(session, _system(event), held.member, f"members.member.{fact}", changed_nothing=True, **about)
