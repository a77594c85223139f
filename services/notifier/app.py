from litestar import Litestar

from libs.common import me
from libs.common.app import Core, build_app
from libs.common.core import connect
from services.notifier.direct_messages.routes import router as direct_messages
from services.notifier.mail_settings.routes import router as mail_settings
from services.notifier.messages.routes import router as messages
from services.notifier.settings import Settings
from services.notifier.strings.routes import router as strings
from services.notifier.suppressions.routes import router as suppressions
from services.notifier.templates.routes import router as templates


def create_app(settings: Settings, core: Core | None = None) -> Litestar:
    routers = [me.router("notifier"), messages, direct_messages, suppressions, templates, mail_settings, strings]
    return build_app(core or connect("notifier", settings), routers, state={"settings": settings})
