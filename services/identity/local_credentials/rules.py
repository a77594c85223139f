"""Passwords that staff set for people without e-mail (T-11): one tenant's only, to be changed at the first use, and
never a way to somebody who is more than a member, or who signs in as a person.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import Conflict, Outdated, Unprocessable
from libs.common.passwords import Passwords, check_password
from libs.common.permissions import Role
from libs.common.tokens import Actor
from services.identity.invitations import rules as invitations
from services.identity.local_credentials.tables import LocalCredential
from services.identity.memberships import rules as memberships
from services.identity.memberships.tables import Membership
from services.identity.roles import grants
from services.identity.sessions.closing import close_member
from services.identity.tenants.rules import get_tenant

GOOD_FOR = timedelta(hours=72)


class PasswordsDiffer(Unprocessable):
    title = "The two passwords are not the same"


class HasPerson(Unprocessable):
    title = "This member signs in as a person, whose password is hers alone"


class IsStaff(Unprocessable):
    title = "Staff choose their passwords themselves"


class LocalAccessNotOpen(Conflict):
    title = "Open local access for this member first"


async def get_credential(session: AsyncSession, tenant_id: UUID, member_id: UUID) -> LocalCredential | None:
    """Raises NotFound for a member that is not here."""
    await memberships.get_membership(session, tenant_id, member_id)
    return await session.get(LocalCredential, (tenant_id, member_id))


async def hash_password(
    session: AsyncSession, passwords: Passwords, tenant_id: UUID, member_id: UUID, password: str, again: str
) -> str:
    """Raises NotFound, PasswordsDiffer, PasswordRefused."""
    if password != again:
        raise PasswordsDiffer(field="password_again")
    membership = await memberships.get_membership(session, tenant_id, member_id)
    tenant = await get_tenant(session, tenant_id)
    words = (tenant.display_name, tenant.slug, membership.display_name, membership.login_name)
    check_password(password, about=words)
    return await passwords.hash(password)


async def set_password(
    session: AsyncSession, actor: Actor, tenant_id: UUID, member_id: UUID, *, password_hash: str, version: int
) -> LocalCredential:
    """The first one accepts the invitation that was opened for it; a later one ends the sessions from before. Raises
    HasPerson, IsStaff, LocalAccessNotOpen, Outdated.
    """
    membership = await memberships.lock_membership(session, tenant_id, member_id)
    if membership.person_id is not None:
        raise HasPerson
    await _require_plain_member(session, actor, membership)
    credential = await session.get(LocalCredential, (tenant_id, member_id))
    known = credential.version if credential else 0
    if known != version:
        raise Outdated(version=known)
    if credential is None:
        await _accept(session, actor, membership)
        credential = LocalCredential(tenant_id=tenant_id, id=member_id, version=0)
        session.add(credential)
    else:
        await close_member(session, member_id)
        await memberships.raise_av(session, membership)
    credential.version += 1
    credential.password_hash, credential.must_change = password_hash, True
    credential.set_at, credential.expires_at, credential.set_by = now(), now() + GOOD_FOR, actor.id
    await session.flush()
    note(session, actor, credential, "identity.local_credential.set", expires_at=credential.expires_at)
    return credential


async def _accept(session: AsyncSession, actor: Actor, membership: Membership) -> None:
    opened = await invitations.find_current(session, membership)
    if opened is None or membership.way != "local" or membership.state != "none":
        raise LocalAccessNotOpen
    if opened.generation.ended is not None or opened.generation.deadline <= now():
        raise LocalAccessNotOpen
    invitations.require_open(opened)
    await invitations.decide(session, actor, opened, "accepted")
    held_by = f"local:{membership.epoch}:{membership.generation}"
    await memberships.activate(session, actor, membership, way="local", held_by=held_by)


async def _require_plain_member(session: AsyncSession, actor: Actor, membership: Membership) -> None:
    """No role above member, no permission group, now or preset, and no right that the actor lacks."""
    names = await grants.names_of(session, membership.id)
    presets = membership.preset_roles if membership.state != "active" else []
    roles = {*names.roles, *presets} - {Role.MEMBER}
    groups = {*names.permission_groups, *(membership.preset_groups if membership.state != "active" else [])}
    rights = (await grants.rights_of_member(session, membership.id)).rights
    if roles or groups or not rights <= actor.rights:
        raise IsStaff
