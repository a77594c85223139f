"""A demo identity provider: npm `oidc-provider`, certified, on the Node that PyPI brings. Nothing of the system's.

Its packages are installed into the stack's folder, once.
`register()` makes it known to a tenant's connection, as an organisation's own admins would at their provider.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from libs.common.stack import npm
from libs.common.stack.part import Part, http_status
from libs.common.stack.state import HOST, State, write_private

_HERE = Path(__file__).parent / "provider"


class Provider(Part):
    name = "provider"
    remedy = "Its log says more. `rm -rf .stack/provider` installs it anew; npm must reach a registry then."

    def __init__(self, state: State, people: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(state)
        self._port = state.port(self.name)
        self.people = {login: dict(claims) for login, claims in people.items()}
        """Their claims, by login name, which is their subject, too; as of the next start."""
        self._folder = state.part(self.name)

    @property
    def issuer(self) -> str:
        return f"http://{HOST}:{self._port}"

    @property
    def password(self) -> str:
        """Of all its people."""
        return self.state.secret("provider.password")

    def prepare(self) -> None:
        npm.install(_HERE, self._folder)
        config = {
            "issuer": self.issuer,
            "port": self._port,
            "password": self.password,
            "people": self.people,
            "clients": self._clients(),
        }
        write_private(self._folder / "config.json", json.dumps(config))

    def command(self) -> list[str]:
        return [str(npm.NODE), str(self._folder / "server.js"), str(self._folder / "config.json")]

    def is_ready(self) -> bool:
        return http_status(f"{self.issuer}/.well-known/openid-configuration") == 200

    def register(self, copy: Mapping[str, str]) -> None:
        """copy: a connection as the API shows it, made with our client_secret. The provider starts again."""
        made = {
            "client_id": copy["client_id"],
            "client_secret": self.client_secret,
            "redirect_uris": [copy["redirect_uri"]],
            "post_logout_redirect_uris": [copy["logout_uri"]],
            "backchannel_logout_uri": copy["backchannel_logout_uri"],
            "backchannel_logout_session_required": True,
        }
        known = [one for one in self._clients() if one["client_id"] != copy["client_id"]]
        write_private(self._folder / "clients.json", json.dumps([*known, made]))
        self.restart()

    @property
    def client_secret(self) -> str:
        return self.state.secret("provider.client")

    def _clients(self) -> list[dict[str, Any]]:
        file = self._folder / "clients.json"
        found: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        return found
