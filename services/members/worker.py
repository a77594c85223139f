"""Put together here: which events the service consumes, which clocks it watches, what else it does."""

from libs.common.events import identity, notifier
from libs.common.inlets import on, on_all
from libs.common.sweeps import Sweep
from libs.common.worker import Worker
from services.members import beat
from services.members.access import admit, handlers
from services.members.blocks import rules as blocks
from services.members.bulk import work as bulk
from services.members.settings import Settings

HANDLERS = (
    on(identity.MembershipActivated, handlers.activate),
    on(identity.InvitationEnded, handlers.end_invitation),
    on(identity.MembershipEnded, handlers.end_membership),
    on(identity.SuspensionRefused, handlers.restore_owner),
    on(identity.RolesChanged, handlers.set_roles),
    on(identity.GrantsRefused, handlers.refuse_grants),
    on(identity.SignedIn, handlers.sign_in),
    on(identity.RenewalAsked, handlers.renew),
    on_all(notifier.MessageChanged, handlers.note_mails),
)
SWEEPS = (Sweep("clocks", blocks.due, blocks.strike, every=5),)
TASKS = (bulk.TASK, admit.TASK, beat.TASK)


def create_worker(settings: Settings) -> Worker:
    return Worker("members", settings, handlers=HANDLERS, sweeps=SWEEPS, tasks=TASKS)
