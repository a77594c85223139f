"""R-28: how many people a tenant may invite, on every path, by the class that operators gave it.

People are addresses: inviting one of them again within the window costs nothing more.
"""

import hashlib
import math
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.errors import TooMany
from services.members.access.tables import InvitedAddress
from services.members.tenants.tables import Tenant

LIMITS: Final = {"new": (200, timedelta(days=1)), "normal": (1_000, timedelta(minutes=10))}
_FORGET = timedelta(days=1)


class InvitationLimitReached(TooMany):
    """Params: retry_after, in seconds."""

    title = "This tenant has invited as many people as it may for now"


async def count_invited(session: AsyncSession, tenant: Tenant, email_key: str, at: datetime) -> None:
    """The tenant's row is locked. Raises InvitationLimitReached."""
    if tenant.mail_class not in LIMITS:
        return
    most, window = LIMITS[tenant.mail_class]
    digest = hashlib.sha256(email_key.encode()).digest()
    since = at - window
    lately = select(
        func.count(), func.min(InvitedAddress.invited_at), func.bool_or(InvitedAddress.digest == digest)
    ).where(InvitedAddress.invited_at > since)
    count, oldest, known = (await session.execute(lately)).one()
    if known:
        return
    if count >= most:
        raise InvitationLimitReached(retry_after=max(1, math.ceil((oldest - since).total_seconds())))
    values = {"tenant_id": tenant.id, "digest": digest, "invited_at": at}
    await session.execute(
        insert(InvitedAddress)
        .values(values)
        .on_conflict_do_update(index_elements=["tenant_id", "digest"], set_={"invited_at": at})
    )
    await session.execute(delete(InvitedAddress).where(InvitedAddress.invited_at < at - _FORGET))
