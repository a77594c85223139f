"""Questions that one service asks another and waits for, by NATS request-reply between two transactions."""

from uuid import UUID

import msgspec

ADMIT = "rpc.members.admit"


class Admit(msgspec.Struct, frozen=True):
    """identity asks members: may this person, whom the tenant's own provider vouches for, come in?

    key: SHA-256 of connection and subject; the same key gets the same answer. email: proven for this tenant.
    """

    tenant_id: UUID
    key: str
    email: str
    display_name: str
    locale: str | None = None


class Admitted(msgspec.Struct, frozen=True, tag="admitted"):
    """She has a seat and an open invitation: accept this one, with its grants."""

    member_id: UUID
    epoch: int
    generation: int


class NoSeat(msgspec.Struct, frozen=True, tag="no_seat"):
    """All seats are taken; nothing was changed, but for a task that tells staff."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """state: active, revoked, blocked, owner_preset (accepted by its link only), malformed, or what her life is."""

    state: str


type AdmitAnswer = Admitted | NoSeat | Refused
