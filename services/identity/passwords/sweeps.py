from sqlalchemy import select

from libs.common.sweeps import Sweep
from services.identity.passwords.asked import answer
from services.identity.passwords.tables import ResetRequest

requests = Sweep(
    "forgotten passwords",
    due=select(ResetRequest.tenant_id, ResetRequest.id).order_by(ResetRequest.created_at),
    act=answer,
    every=1,
)
