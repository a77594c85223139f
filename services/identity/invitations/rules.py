"""Invitations: one per member, renewed in place. A link is checked against its own generation, so that an old one gets
a true answer; what decides between accept, decline, expiry and renewal is one compare-and-set on the invitation's row.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import record
from libs.common.db import among, now
from libs.common.errors import Conflict, Gone
from libs.common.events.identity import InvitationEnded, InvitationIssued, Reason, RenewalAsked
from libs.common.links import LinkNotValid, Links, Purpose, read_code
from libs.common.tokens import Actor
from services.identity.invitations.tables import Invitation, InvitationGeneration
from services.identity.memberships.standing import bar_to_accept
from services.identity.memberships.tables import Membership
from services.identity.tenants.tables import Tenant

MOST_GENERATIONS = 2**31 - 1
"""What the column holds; a code that was not made by us may say anything."""


class InvitationExpired(Gone):
    title = "This invitation has expired"


class InvitationReplaced(Gone):
    title = "A newer link was sent; only the newest works"


class InvitationRevoked(Gone):
    title = "This invitation was withdrawn"


class InvitationDeclined(Gone):
    title = "This invitation was declined"


class InvitationAccepted(Gone):
    title = "This invitation was accepted already"


class AccessBlocked(Conflict):
    """With cause: locked, deactivated, outside_dates or marked_deleted. The invitation stays open to its deadline."""

    title = "The access is blocked at the moment"


_ENDED = {
    "expired": InvitationExpired,
    "replaced": InvitationReplaced,
    "revoked": InvitationRevoked,
    "declined": InvitationDeclined,
    "accepted": InvitationAccepted,
}


class Opened(msgspec.Struct, frozen=True):
    """A link that we made, whatever became of its invitation since."""

    invitation: Invitation
    generation: InvitationGeneration
    membership: Membership


async def lock_invitations(session: AsyncSession, member_ids: Collection[UUID]) -> dict[UUID, Invitation]:
    """By member, of those who have one; after their memberships, where these are locked too."""
    query = select(Invitation).where(among(Invitation.member_id, member_ids)).order_by(Invitation.member_id)
    found = await session.scalars(query.with_for_update().execution_options(populate_existing=True))
    return {invitation.member_id: invitation for invitation in found}


async def open_invitation(
    session: AsyncSession, actor: Actor, invitation: Invitation | None, membership: Membership, *, deadline: datetime
) -> Invitation:
    """Under the membership's new generation; one that is open is replaced. Once it is flushed, announce() it."""
    if invitation is None:
        invitation = Invitation(tenant_id=membership.tenant_id, member_id=membership.id, renewal_asked=0)
        session.add(invitation)
    elif invitation.state == "open":
        await _end(session, actor, invitation, "replaced")
    invitation.state, invitation.deadline = "open", deadline
    invitation.epoch, invitation.generation = membership.epoch, membership.generation
    invitation.email_key = membership.email_key if membership.way == "mail" else None
    return invitation


def announce(
    session: AsyncSession, actor: Actor, invitation: Invitation, membership: Membership, tenant: Tenant
) -> None:
    """Keeps what its link is made for, and tells who mails it."""
    by_mail = membership.way == "mail"
    session.add(
        InvitationGeneration(
            tenant_id=membership.tenant_id,
            invitation_id=invitation.id,
            generation=invitation.generation,
            epoch=invitation.epoch,
            address=(membership.email or "") if by_mail else "",
            deadline=invitation.deadline,
        )
    )
    if by_mail:
        record(session, actor, invitation, _issued(invitation, membership, tenant))


async def open_link(session: AsyncSession, links: Links, code: str) -> Opened:
    """The session's tenant is the page's: row level security shows no other's. Raises a LinkError for what we did not
    make, or not for this tenant.
    """
    claims = read_code(code)
    key = (claims.tenant_id, claims.id, min(claims.generation, MOST_GENERATIONS))
    generation = await session.get(InvitationGeneration, key)
    if generation is None or not generation.address:
        raise LinkNotValid
    links.verify_code(code, Purpose.INVITATION, address=generation.address, deadline=generation.deadline)
    invitation = await session.get_one(Invitation, (claims.tenant_id, claims.id))
    membership = await session.get_one(Membership, (claims.tenant_id, invitation.member_id))
    return Opened(invitation, generation, membership)


def require_live(opened: Opened) -> None:
    """Raises the true cause where the link leads nowhere any more. For an older link than the newest it is that,
    whatever became of it before: the way on is the newest mail.
    """
    if opened.generation.generation < opened.invitation.generation:
        raise InvitationReplaced
    if opened.generation.ended is not None:
        raise _ENDED[opened.generation.ended]
    if opened.generation.deadline <= now():
        raise InvitationExpired


def require_open(opened: Opened) -> None:
    """Live, and nothing bars the member from accepting just now: raises AccessBlocked, and the invitation stays."""
    require_live(opened)
    cause = bar_to_accept(opened.membership, now())
    if cause is not None:
        raise AccessBlocked(cause=cause)


async def decide(session: AsyncSession, actor: Actor, opened: Opened, reason: Reason) -> None:
    """End the invitation of this very generation, if it is open and in time. Raises the cause where somebody was
    faster. The membership is locked.
    """
    won = (
        update(Invitation)
        .where(
            Invitation.id == opened.invitation.id,
            Invitation.generation == opened.generation.generation,
            Invitation.state == "open",
            Invitation.deadline > now(),
        )
        .values(state="ended")
        .returning(Invitation.id)
    )
    if await session.scalar(won) is None:
        await session.refresh(opened.generation)
        await session.refresh(opened.invitation)
        require_live(opened)
        raise InvitationReplaced  # renewed in this very moment
    await session.refresh(opened.invitation)
    await _note_end(session, actor, opened.invitation, reason)


async def end_open(session: AsyncSession, actor: Actor, invitation: Invitation | None, reason: Reason) -> None:
    if invitation is not None and invitation.state == "open":
        await _end(session, actor, invitation, reason)


async def expire(session: AsyncSession, tenant_id: UUID, invitation_id: UUID) -> None:
    """The sweep's: the row says again that it is open and past its deadline."""
    due = (Invitation.id == invitation_id, Invitation.state == "open", Invitation.deadline <= now())
    invitation = await session.scalar(select(Invitation).where(*due).with_for_update())
    if invitation is not None:
        await _end(session, Actor.system(tenant_id), invitation, "expired")


async def ask_renewal(session: AsyncSession, actor: Actor, membership: Membership) -> None:
    """The person of a lapsed invitation wants a new link: told to members, which decides (T-17), once per generation.
    Does nothing where there is nothing to renew, and says so to nobody.
    """
    lapsed = await find_current(session, membership)
    if lapsed is None or membership.state != "none" or not _has_lapsed(lapsed.generation):
        return
    invitation = lapsed.invitation
    if invitation.renewal_asked < invitation.generation:
        invitation.renewal_asked = invitation.generation
        await session.flush()
        record(session, actor, invitation, RenewalAsked(membership.id, invitation.epoch, invitation.generation))


async def find_current(session: AsyncSession, membership: Membership) -> Opened | None:
    """The member's invitation in its newest generation, open or not; without a link."""
    invitation = (await lock_invitations(session, [membership.id])).get(membership.id)
    if invitation is None:
        return None
    key = (invitation.tenant_id, invitation.id, invitation.generation)
    generation = await session.get(InvitationGeneration, key)
    return Opened(invitation, generation, membership) if generation else None


async def forget(session: AsyncSession, invitation: Invitation) -> None:
    """Addresses go; a link of any generation then is no link of ours."""
    invitation.email_key = None
    mine = InvitationGeneration.invitation_id == invitation.id
    await session.execute(delete(InvitationGeneration).where(mine))


def _has_lapsed(generation: InvitationGeneration) -> bool:
    return generation.ended == "expired" or (generation.ended is None and generation.deadline <= now())


async def _end(session: AsyncSession, actor: Actor, invitation: Invitation, reason: Reason) -> None:
    invitation.state = "ended"
    await session.flush()
    await _note_end(session, actor, invitation, reason)


async def _note_end(session: AsyncSession, actor: Actor, invitation: Invitation, reason: Reason) -> None:
    key = (invitation.tenant_id, invitation.id, invitation.generation)
    generation = await session.get_one(InvitationGeneration, key)
    generation.ended, generation.ended_at = reason, now()
    await session.flush()
    ended = InvitationEnded(invitation.id, invitation.member_id, invitation.epoch, invitation.generation, reason)
    record(session, actor, invitation, ended)


def _issued(invitation: Invitation, membership: Membership, tenant: Tenant) -> InvitationIssued:
    return InvitationIssued(
        invitation_id=invitation.id,
        member_id=membership.id,
        epoch=invitation.epoch,
        generation=invitation.generation,
        email=membership.email or "",
        display_name=membership.display_name,
        tenant_name=tenant.display_name,
        slug=tenant.slug,
        locale=membership.locale or tenant.locale,
        deadline=invitation.deadline,
    )
