import msgspec
from litestar import Litestar, Router
from litestar.di import Provide

from libs.common import me
from libs.common.app import Core, build_app
from libs.common.core import connect
from services.documents.documents.routes import router as documents
from services.documents.downloads.routes import router as downloads
from services.documents.edges import Edges
from services.documents.hand_overs.routes import router as hand_overs
from services.documents.openings.routes import router as openings
from services.documents.scanner import Scanner
from services.documents.settings import Settings
from services.documents.store import Store
from services.documents.tenants.routes import router as tenants
from services.documents.uploads.routes import router as uploads


def create_app(settings: Settings, core: Core | None = None) -> Litestar:
    core = core or connect("documents", settings)
    edges = Edges(core.database, Store(settings), Scanner(settings.scanner_url))
    features = Router(
        "/",
        route_handlers=[uploads, documents, downloads, openings, hand_overs, tenants],
        dependencies={"edges": Provide(lambda: edges, sync_to_thread=False)},
    )
    told = {"store": edges.store.ping}
    if edges.scanner.configured:
        told["scanner"] = edges.scanner.ping
    core = msgspec.structs.replace(core, lifespan=[*core.lifespan, edges.store.running], told=told)
    return build_app(core, [features, me.router("documents")], state={"edges": edges})
