"""What may happen to a member's profile. Who is added stands in the list at once, without any access (A-14)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import now
from libs.common.errors import Conflict, Forbidden, NotFound, Unprocessable
from libs.common.permissions import Permission
from libs.common.text import canonical_address
from libs.common.tokens import Actor
from services.members import hold
from services.members.access.presets import Presets, require_may_grant, stand_for
from services.members.facts import Action, outside_of
from services.members.hold import Held
from services.members.people import names
from services.members.people.tables import Member, MemberToken
from services.members.refusals import AlreadyMember, InvitationOpen
from services.members.seats.rules import lock_tenant
from services.members.tenants.tables import Tenant


class LoginNameTaken(Conflict):
    title = "Another member has this login name"


class EmailTaken(Conflict):
    title = "Another member has this e-mail address"


class EmailRequired(Unprocessable):
    title = "This tenant asks for an e-mail address"


class DatesReversed(Unprocessable):
    title = "The expiry date must come after the entry date"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What staff enter about a person. Her name may be a pseudonym (A-12)."""

    login_name: str
    display_name: str
    email: str | None = None
    phone: str | None = None
    locale: str | None = None


async def add_member(
    session: AsyncSession,
    actor: Actor,
    profile: Profile,
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    presets: Presets | None = None,
) -> Held:
    """Raises LoginNameTaken, EmailTaken or AlreadyMember, EmailRequired, AddressMalformed, MayNotGrant,
    DatesReversed.
    """
    require_in_order(starts_at, ends_at)
    tenant = await lock_tenant(session)
    member = Member(
        tenant_id=tenant.id,
        version=1,
        starts_at=starts_at,
        ends_at=ends_at,
        outside=outside_of(starts_at, ends_at, now()),
        **_columns(profile),
    )
    if presets is not None:
        stand_for(actor, member, presets)
    await _require_free(session, actor, tenant, member)
    session.add(member)
    held = hold.new(tenant, member)
    await hold.save(session, actor, held, "added")
    await _index(session, member)
    return held


async def edit_member(
    session: AsyncSession, actor: Actor, member_id: UUID, changed: Mapping[str, Any], *, version: int
) -> Member:
    """changed: fields of Profile. Who has a person keeps signing in by the person's own address (R-19).

    Raises InvitationOpen for another address while an invitation is open: readdress it. Forbidden for e-mail and phone
    without the right to see them, MayNotGrant, and what add_member raises.
    """
    held = await hold.hold(session, actor, member_id, Action.EDIT, version=version)
    member, before = held.member, profile_of(held.member)
    profile = msgspec.structs.replace(before, **changed)
    if profile == before:
        return member
    if (profile.email, profile.phone) != (before.email, before.phone):
        if Permission.MEMBERS_CONTACT not in actor.rights:
            raise Forbidden(permission=Permission.MEMBERS_CONTACT)
        if profile.email != before.email:
            _require_may_redirect(actor, member)
    for name, value in _columns(profile).items():
        setattr(member, name, value)
    await _require_free(session, actor, held.tenant, member)
    member.version += 1
    await _index(session, member)
    await hold.save(session, actor, held, "edited", edited=_edited(before, profile))
    return member


def _require_may_redirect(actor: Actor, member: Member) -> None:
    """An open invitation is readdressed, not edited. A lapsed one may be renewed by whoever reads that mail: so only he
    who could give what it presets says where that is.
    """
    if member.access == "invited":
        raise InvitationOpen(instead="readdress")
    if member.access != "active":
        require_may_grant(actor, member)


def require_in_order(starts_at: datetime | None, ends_at: datetime | None) -> None:
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        raise DatesReversed(field="ends_at")


async def set_address(session: AsyncSession, actor: Actor, held: Held, email: str) -> None:
    """Another address on the same member, for readdress. Raises EmailTaken or AlreadyMember, AddressMalformed."""
    member = held.member
    member.email, member.email_key = email.strip(), canonical_address(email)
    await _require_free(session, actor, held.tenant, member)
    member.version += 1
    await _index(session, member)


async def get_member(session: AsyncSession, member_id: UUID) -> Member:
    member = await session.scalar(select(Member).where(Member.id == member_id, Member.life != "erased"))
    if member is None:
        raise NotFound
    return member


def profile_of(member: Member) -> Profile:
    return Profile(**{name: getattr(member, name) for name in Profile.__struct_fields__})


def _columns(profile: Profile) -> dict[str, object]:
    email = profile.email.strip() if profile.email else None
    return {
        **msgspec.structs.asdict(profile),
        "email": email,
        "login_key": names.login_key(profile.login_name),
        "name_key": names.sort_key(profile.display_name),
        "email_key": canonical_address(email) if email else None,
    }


def _edited(before: Profile, after: Profile) -> dict[str, list[object]]:
    return {
        name: [getattr(before, name), getattr(after, name)]
        for name in Profile.__struct_fields__
        if getattr(before, name) != getattr(after, name)
    }


async def _require_free(session: AsyncSession, actor: Actor, tenant: Tenant, member: Member) -> None:
    """The tenant's row is locked, so that nobody takes a name between this look and the write."""
    if tenant.email_required and member.email is None:
        raise EmailRequired(field="email")
    same = Member.login_key == member.login_key
    if member.email_key is not None:
        same = or_(same, Member.email_key == member.email_key)
    query = select(Member.id, Member.login_key, Member.email_key, Member.access).where(same, Member.id != member.id)
    with session.no_autoflush:
        others = (await session.execute(query)).all()
    for other in others:
        if other.login_key == member.login_key:
            raise LoginNameTaken(field="login_name", member_id=other.id)
        error = AlreadyMember if other.access == "active" else EmailTaken
        # Whose address it is, is told to those who may see addresses.
        seen = {"member_id": other.id} if Permission.MEMBERS_CONTACT in actor.rights else {}
        raise error(field="email", **seen)


async def _index(session: AsyncSession, member: Member) -> None:
    """What the text search finds her by."""
    await session.execute(delete(MemberToken).where(MemberToken.member_id == member.id))
    about = {"tenant_id": member.tenant_id, "member_id": member.id}
    own = names.tokens([member.display_name, member.login_name])
    contact = names.tokens([member.email_key, member.phone])
    rows = [
        {**about, "token": token, "contact": kind} for kind, found in ((False, own), (True, contact)) for token in found
    ]
    if rows:
        await session.execute(insert(MemberToken), rows)
