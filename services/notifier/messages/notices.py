"""Mail to a member about herself, from what the address book knows of her."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import Event
from libs.common.inlets import NotYet, Received
from services.notifier.address_book.rules import find_entry, is_gone
from services.notifier.messages.queueing import Mail, queue
from services.notifier.templates.catalog import Name
from services.notifier.tenants.rules import choose_locale, find_tenant


async def mail_member[E: Event](
    session: AsyncSession, event: Received[E], template: Name, member_id: UUID, **data: object
) -> None:
    """Nothing happens where she has no address or is erased. Raises NotYet until her profile has come in its stream."""
    entry = await find_entry(session, member_id)
    if is_gone(entry):
        return
    if entry is None or not entry.profile_version:
        raise NotYet(str(member_id))
    if entry.email is None:
        return
    tenant = await find_tenant(session, event.tenant_id)
    mail = Mail(
        template=template,
        cause_id=event.id,
        cause_type=event.data.type(),
        email=entry.email,
        locale=choose_locale(event.tenant_id, entry.locale, tenant.locale if tenant else None),
        data={"name": entry.display_name, "tenant_name": tenant.display_name if tenant else "", **data},
        member_id=member_id,
        epoch=entry.epoch,
    )
    await queue(session, event.tenant_id, mail)
