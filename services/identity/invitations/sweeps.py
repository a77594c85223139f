from sqlalchemy import func, select

from libs.common.sweeps import Sweep
from services.identity.invitations.rules import expire
from services.identity.invitations.tables import Invitation

deadlines = Sweep(
    "invitation deadlines",
    due=select(Invitation.tenant_id, Invitation.id)
    .where(Invitation.state == "open", Invitation.deadline <= func.now())
    .order_by(Invitation.deadline),
    act=expire,
    every=10,
)
