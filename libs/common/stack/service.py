"""One of our services: API and worker in one process, as `control-centre serve SERVICE --work` runs them."""

import sys
from collections.abc import Mapping

from libs.common.stack.part import Part, http_status
from libs.common.stack.state import HOST, State

PYTHON = [sys.executable, "-P", "-m"]
CONTROL_CENTRE = [*PYTHON, "libs.common.cli"]


class Service(Part):
    patience = 120
    asked_every = 0.1

    def __init__(self, state: State, name: str) -> None:
        super().__init__(state)
        self.name = name
        self.port = state.port(name)
        self.settings: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        return [*CONTROL_CENTRE, "serve", self.name, "--host", HOST, "--port", str(self.port), "--work"]

    def environ(self) -> Mapping[str, str]:
        return {**super().environ(), **self.settings}

    def is_ready(self) -> bool:
        return http_status(f"{self.url}/readyz", timeout=3) == 200
