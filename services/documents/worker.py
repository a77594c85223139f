from sqlalchemy import func, select

from libs.common.events.identity import MembershipActivated, MembershipEnded
from libs.common.events.members import AccessWanted, GroupMemberSaved, MemberErasing, MemberSaved
from libs.common.inlets import on, on_all
from libs.common.worker import Worker
from services.documents.edges import Edges
from services.documents.erasures import handlers as erasures
from services.documents.erasures import sweeps
from services.documents.hand_overs import handlers as hand_overs
from services.documents.people import handlers as people
from services.documents.scanner import Scanner
from services.documents.settings import Settings
from services.documents.store import Store
from services.documents.uploads.intake import check_due
from services.documents.uploads.tables import Upload
from services.documents.work import task

# Several handlers of one event run in this order: what is known of people comes first.
HANDLERS = (
    on(MemberSaved, people.note_profile),
    on(MemberSaved, erasures.remove_when_anonymised),
    on_all(AccessWanted, people.note_access),
    on_all(AccessWanted, hand_overs.review_access),
    on(MembershipActivated, people.note_activation),
    on(MembershipActivated, hand_overs.review_membership),
    on(MembershipEnded, people.note_end),
    on(MembershipEnded, hand_overs.review_membership),
    on(GroupMemberSaved, people.note_group_member),
    on(MemberErasing, people.note_erasing),
    on(MemberErasing, erasures.erase_member),
)


CHECKS_DUE = select(Upload.tenant_id, Upload.id).where(
    Upload.state.in_(("checking", "quarantined")), Upload.due_at <= func.now()
)


def create_worker(settings: Settings) -> Worker:
    store, scanner = Store(settings), Scanner(settings.scanner_url)

    def edges_of(worker: Worker) -> Edges:
        return Edges(worker.database, store, scanner)

    return Worker(
        "documents",
        settings,
        handlers=HANDLERS,
        sweeps=sweeps.SWEEPS,
        tasks=[
            task("check uploads", CHECKS_DUE, check_due, edges_of),
            task("delete objects", sweeps.DELETIONS_DUE, sweeps.delete_in_store, edges_of),
        ],
    )
