"""A mail server that keeps what it is given, with a page and an API to read it; behaves badly when told to."""

import sys

from libs.common.stack.part import Part, http_status
from libs.common.stack.state import HOST, State


class Mail(Part):
    name = "mail"

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._smtp_port = state.port("smtp")
        self._page_port = state.port(self.name)

    @property
    def smtp(self) -> str:
        return f"smtp://{HOST}:{self._smtp_port}"

    @property
    def page(self) -> str:
        return f"http://{HOST}:{self._page_port}"

    def command(self) -> list[str]:
        folder = str(self.state.part(self.name))
        return [sys.executable, "-m", "libs.common.stack.catcher", folder, str(self._smtp_port), str(self._page_port)]

    def is_ready(self) -> bool:
        return http_status(f"{self.page}/api/state") == 200
