"""How every command and every answer changes a member: hold her row, check, set facts, save.

hold() locks the tenant, then the member, and lets her clocks strike that are due. save() moves the seat, derives what
the list shows, and leaves history and events: AccessWanted where anything that it carries has changed, MemberSaved
likewise. So no rule can forget one of them.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note, send
from libs.common.db import among, now
from libs.common.errors import AppError, NotFound, Outdated
from libs.common.events.members import AccessWanted, MemberSaved
from libs.common.events.subjects import event_subject
from libs.common.tokens import Actor
from services.members import facts as f
from services.members.facts import Action, Facts
from services.members.people.tables import Member
from services.members.refusals import Blocked, InvitationOpen
from services.members.seats.rules import admit_seat, lock_tenant
from services.members.tasks.rules import open_task
from services.members.tenants.tables import Tenant


class Held(msgspec.Struct):
    """A member whose row and whose tenant's row are locked, and what was true of her at the last save."""

    tenant: Tenant
    member: Member
    facts: Facts
    wanted: AccessWanted | None
    profile: MemberSaved | None


async def find_held(session: AsyncSession, member_id: UUID) -> Held | None:
    """Locked, with her clocks on time. None where she is not there, or gone for good."""
    return (await find_all_held(session, [member_id])).get(member_id)


async def find_all_held(session: AsyncSession, member_ids: Collection[UUID]) -> dict[UUID, Held]:
    """As find_held, of several at once; those who are there. They share the tenant's row, and so its seats."""
    tenant = await lock_tenant(session)
    members = await lock_members(session, member_ids)
    found = {id: Held(tenant, member, member.facts, wanted(member), profile(member)) for id, member in members.items()}
    for held in found.values():
        await strike_clocks(session, held, now())
    return found


async def lock_member(session: AsyncSession, member_id: UUID) -> Member | None:
    """Her row alone, for answers that move no seat; a rule that calls this must not ask for the tenant's row
    afterwards. (Several answers in one transaction may: they give way.)
    """
    return (await lock_members(session, [member_id])).get(member_id)


async def lock_members(session: AsyncSession, member_ids: Collection[UUID]) -> dict[UUID, Member]:
    """Those who are there, and not gone for good."""
    query = select(Member).where(among(Member.id, member_ids), Member.life != "erased").order_by(Member.id)
    query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return {member.id: member for member in await session.scalars(query)}


async def hold(
    session: AsyncSession, actor: Actor, member_id: UUID, action: Action | None = None, *, version: int | None = None
) -> Held:
    """Raises NotFound, Outdated where another version was read, or why the action is refused."""
    held = await find_held(session, member_id)
    if held is None:
        raise NotFound
    if version is not None and held.member.version != version:
        raise Outdated(version=held.member.version)
    if action is not None:
        require(action, held.member, actor)
    return held


def new(tenant: Tenant, member: Member) -> Held:
    """Someone who is being added: nothing was true of her."""
    return Held(tenant, member, Facts(), None, None)


def require(action: Action, member: Member, actor: Actor) -> None:
    rights = None if actor.kind in ("system", "operator") else actor.rights
    error = f.refusal(action, member.standing(actor.id, rights))
    if error is not None:
        raise error(**_params(error, member))


def _params(error: type[AppError], member: Member) -> dict[str, object]:
    if error is Blocked:
        return {"blocks": f.blocks(member.facts)}
    if error is InvitationOpen:
        return {"instead": "revoke"}
    return {}


async def save(
    session: AsyncSession, actor: Actor, held: Held, fact: str, *, over_limit: bool = False, **details: object
) -> None:
    """Raises SeatLimitReached. The history says what changed, from and to, and the details that are not None; where
    there is neither, nothing is left behind.
    """
    tenant, member, facts = held.tenant, held.member, held.member.facts
    admit_seat(tenant, f.seat(held.facts), f.seat(facts), over_limit=over_limit)
    derive(member)
    access, saved = wanted(member), profile(member)
    access_changed, profile_changed = access != held.wanted, saved != held.profile
    member.access_version += access_changed
    member.profile_version += profile_changed
    changed = changes(held.facts, facts)
    if member.id is None:
        await session.flush()  # which gives it; other changes are written with the next statement, or at the end
    if access_changed:
        access = msgspec.structs.replace(access, access_version=member.access_version)
        _send(session, member, access, member.access_version)
    if profile_changed:
        _send(session, member, saved, member.profile_version)
    details = {name: value for name, value in {"changed": changed or None, **details}.items() if value is not None}
    if access_changed or profile_changed or details:
        note(session, actor, member, f"members.member.{fact}", **details)
    held.facts, held.wanted, held.profile = facts, wanted(member), saved


async def strike_clocks(session: AsyncSession, held: Held, at: datetime) -> None:
    """Locks end, dates begin and end, a reactivation without a sign-in lapses: by the sweep, and whenever somebody
    acts on the member.
    """
    member, system = held.member, Actor.system(held.tenant.id)
    if member.due_at is None or member.due_at > at:
        return
    if member.locked and member.locked_until is not None and member.locked_until <= at:
        member.locked, member.locked_until, member.lock_reason = False, None, None
        await save(session, system, held, "lock_ended")
    if member.login_due_at is not None and member.login_due_at <= at:
        member.login_due_at = None
        if not member.deactivated:
            member.deactivated = True
            member.cut += 1
        await save(session, system, held, "reactivation_lapsed")
    outside = f.outside_of(member.starts_at, member.ends_at, at)
    if member.outside == "before" and outside is None:
        member.outside = None
        if f.seat(member.facts) and not f.seat(held.facts) and not held.tenant.seats_free:
            member.outside = "no_seat"
            await open_task(session, member, "seat_missing", due_at=at)
        await save(session, system, held, "dates_begun")
    elif outside == "after" and member.outside != "after":
        set_outside(member, "after")
        await save(session, system, held, "dates_ended")


def derive(member: Member) -> None:
    """What the list shows and when the clocks look again, from the facts."""
    facts = member.facts
    next_step = f.guidance(facts, member.mail_state)
    member.column = f.column(facts)
    member.guidance, member.guidance_until = next_step.code, next_step.until
    member.due_at = f.due_at(facts, owner=member.is_owner)


def set_outside(member: Member, outside: f.Outside | None) -> None:
    """cut rises when the time outside begins, not when one reason for it follows another."""
    member.cut += outside is not None and member.outside is None
    member.outside = outside


def wanted(member: Member) -> AccessWanted:
    """What identity shall make true; access_version is set when it is sent."""
    return AccessWanted(
        access_version=0,
        epoch=member.epoch,
        generation=member.generation,
        cut=member.cut,
        want=_want(member),
        way=member.way,  # type: ignore[arg-type]
        blocked=f.blocks(member.facts),
        locked_until=member.locked_until,
        starts_at=member.starts_at,
        ends_at=member.ends_at,
        login_name=member.login_name,
        display_name=member.display_name,
        email=member.email,
        locale=member.locale,
        deadline=member.deadline,
        roles=member.preset_roles,
        permission_groups=member.preset_permission_groups,
        granted_by=member.granted_by,
        granted_rights=member.granted_rights,
        first_owner=member.first_owner,
        sso_key=member.sso_key,
    )


def profile(member: Member) -> MemberSaved:
    return MemberSaved(
        login_name=member.login_name,
        display_name=member.display_name,
        email=member.email,
        locale=member.locale,
        life=member.life,
    )


def changes(before: Facts, after: Facts) -> dict[str, Any]:
    """R-26: {fact: [before, after]} for those that differ."""
    return {
        name: [getattr(before, name), getattr(after, name)]
        for name in Facts.__struct_fields__
        if getattr(before, name) != getattr(after, name)
    }


def _want(member: Member) -> Any:
    if member.life in ("erasing", "anonymised", "erased"):
        return "gone"
    return "invited" if member.access in ("invited", "active") else "nothing"


def _send(session: AsyncSession, member: Member, event: AccessWanted | MemberSaved, version: int) -> None:
    subject = event_subject(event.type(), member.tenant_id, member.id)
    send(session, member, event.type(), subject, msgspec.to_builtins(event), version=version)
