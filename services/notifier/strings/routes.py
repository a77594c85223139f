from typing import Literal

from litestar import Router, get
from litestar.params import FromPath

from libs.common.app import problems
from libs.common.auth import AUTHENTICATED
from services.notifier.strings import words


@get(
    "/{locale:str}",
    permission=AUTHENTICATED,
    responses=problems(),
    sync_to_thread=False,
    summary="What states, reasons and templates are called, by their codes",
)
def read_words(locale: FromPath[Literal["de", "en"]]) -> dict[str, str]:
    return dict(words(locale))


router = Router("/notifier/v1/words", route_handlers=[read_words], tags=["Words"])
