"""Fills the address book from three streams that know nothing of each other's order; each fact carries its counter.

members.member.saved (profile_version) gives name, address, language and life, members.member.access (access_version)
what shall be, identity.membership.* (av) what is. An epoch that is over cannot come back.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.events.identity import MembershipActivated, MembershipEnded
from libs.common.events.members import AccessWanted, MemberErasing, MemberSaved
from libs.common.inlets import Received
from libs.common.text import AddressMalformed, canonical_address
from services.notifier.address_book.forgetting import confirm_erasure, forget
from services.notifier.address_book.rules import GONE, hold_entries, hold_entry
from services.notifier.address_book.tables import Entry
from services.notifier.messages.notices import mail_member


async def keep_profile(session: AsyncSession, event: Received[MemberSaved]) -> None:
    data = event.data
    entry = await hold_entry(session, event.tenant_id, event.row_id)
    if entry.profile_version >= event.row_version or entry.life in GONE:
        return
    before = entry.life
    entry.profile_version = event.row_version
    if data.life in GONE:
        entry.life = data.life
        if data.life != "erasing":  # that is done, and counted, when the saga asks for it
            await forget(session, entry, data.life)
        return
    entry.display_name, entry.locale, entry.life = data.display_name, data.locale, data.life
    entry.email, entry.email_canonical = data.email, _canonical(data.email)
    if (before, data.life) == ("present", "marked_deleted"):
        await mail_member(session, event, "deletion_marked", event.row_id)


async def keep_access(session: AsyncSession, events: Sequence[Received[AccessWanted]]) -> None:
    entries = await hold_entries(session, events[0].tenant_id, [event.row_id for event in events])
    for event in events:
        _keep_access(entries[event.row_id], event.data)


def _keep_access(entry: Entry, data: AccessWanted) -> None:
    if entry.access_version >= data.access_version or entry.life in GONE:
        return
    entry.access_version = data.access_version
    entry.blocked, entry.locked_until = list(data.blocked), data.locked_until
    was_active = entry.access == "active" and entry.epoch >= data.epoch
    entry.epoch = max(entry.epoch, data.epoch)
    if data.want == "invited":
        entry.access = "active" if was_active else "invited"
    else:
        entry.access = "revoked" if entry.epoch else "none"


async def keep_activation(session: AsyncSession, event: Received[MembershipActivated]) -> None:
    entry = await hold_entry(session, event.tenant_id, event.data.member_id)
    if _is_news(entry, event.row_version, event.data.epoch):
        entry.access, entry.epoch, entry.holder = "active", event.data.epoch, event.data.holder


async def keep_end(session: AsyncSession, event: Received[MembershipEnded]) -> None:
    entry = await hold_entry(session, event.tenant_id, event.data.member_id)
    if _is_news(entry, event.row_version, event.data.epoch):
        entry.access, entry.epoch = "revoked", event.data.epoch


async def erase_member(session: AsyncSession, event: Received[MemberErasing]) -> None:
    """Everything about her goes but an empty entry, which keeps late events from bringing her back."""
    entry = await hold_entry(session, event.tenant_id, event.row_id)
    counts = await forget(session, entry, "erased")
    confirm_erasure(session, event, counts)


def _is_news(entry: Entry, av: int, epoch: int) -> bool:
    """False for what is older than known; notes the counter otherwise."""
    if entry.av >= av or entry.epoch > epoch or entry.life in GONE:
        return False
    entry.av = av
    return True


def _canonical(email: str | None) -> str | None:
    try:
        return canonical_address(email) if email else None
    except AddressMalformed:
        return None
