from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from libs.common.permissions import Permission
from libs.common.text import Address, Line, masked_address, with_masked_addresses
from libs.common.tokens import Actor
from services.notifier.suppressions.tables import Suppression


class SuppressionIn(msgspec.Struct, forbid_unknown_fields=True):
    """detail: why, for whoever reads the list."""

    email: Address
    detail: Line


class SuppressionOut(msgspec.Struct):
    """message_id: the mail that came back, whose attempts and reports say the rest."""

    id: UUID
    created_at: datetime
    email: str
    reason: Literal["hard_bounce", "complaint", "manual"]
    detail: str
    message_id: UUID | None
    expires_at: datetime


class LiftedOut(msgspec.Struct):
    """released: mails that were held for the address and are on their way now."""

    released: Annotated[int, Meta(ge=0)]


def shown(suppression: Suppression, actor: Actor) -> SuppressionOut:
    email, detail = suppression.email, suppression.detail
    if Permission.MEMBERS_CONTACT not in actor.rights:
        email, detail = masked_address(email), with_masked_addresses(detail)
    return SuppressionOut(
        id=suppression.id,
        created_at=suppression.created_at,
        email=email,
        reason=suppression.reason,  # type: ignore[arg-type]
        detail=detail,
        message_id=suppression.message_id,
        expires_at=suppression.expires_at,
    )
