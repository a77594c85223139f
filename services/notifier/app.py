from litestar import Litestar

from libs.common import me
from libs.common.app import Core, build_app
from libs.common.core import connect
from services.notifier.messages.routes import router as messages
from services.notifier.settings import Settings
from services.notifier.suppressions.routes import router as suppressions


def create_app(settings: Settings, core: Core | None = None) -> Litestar:
    return build_app(core or connect("notifier", settings), [me.router("notifier"), messages, suppressions])
