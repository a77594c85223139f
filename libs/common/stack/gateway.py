"""One origin for the four services and the pages: Caddy, configured for nothing but this."""

import json
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from libs.common.stack.errors import PartFailed
from libs.common.stack.part import Part, http_status
from libs.common.stack.state import HOST, State, has_ipv6, is_free, write_private

USUAL_PORT = 8080

# Beside its prefix each service has probes and figures; those stay inside.
_PAGES = ("/", "/t/*", "/password", "/password/*", "/docs", "/.well-known/*")

# What a client could send to pass for another; Caddy itself overwrites X-Forwarded-For, -Host and -Proto.
_FORGEABLE = ["Forwarded", "X-Real-Ip", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server"]


class Gateway(Part):
    name = "gateway"

    def __init__(self, state: State, services: Mapping[str, int], port: int | None, first_choice: int = 0) -> None:
        """services: their ports. port: exactly this one; without: the last one, the first choice, or any."""
        super().__init__(state)
        if port and not is_free(port):
            why = f"port {port} (from PORT) is in use by another program"
            raise PartFailed(
                self.name, why, "Give another one: `PORT=8090 make run`. Without PORT a free one is taken."
            )
        self.port = port or state.port(self.name, first_choice)
        self._services = services
        self._config = state.part(self.name) / "caddy.json"

    @property
    def url(self) -> str:
        """`localhost`, not an address: passkeys need a name, and browsers trust this one without TLS."""
        return f"http://localhost:{self.port}"

    def prepare(self) -> None:
        write_private(self._config, json.dumps(self._configuration(), indent=2))

    def command(self) -> list[str]:
        caddy = Path(sysconfig.get_path("scripts")) / "caddy"
        return [str(caddy), "run", "--config", str(self._config)]

    def environ(self) -> Mapping[str, str]:
        folder = str(self._config.parent)
        return {**super().environ(), "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}

    def is_ready(self) -> bool:
        return http_status(f"http://{HOST}:{self.port}/livez") == 404

    def _configuration(self) -> dict[str, Any]:
        listen = [f"{HOST}:{self.port}", *([f"[::1]:{self.port}"] if has_ipv6() else [])]
        server = {
            "listen": listen,
            "protocols": ["h1"],
            "automatic_https": {"disable": True},
            "routes": [
                *(_route([f"/{name}/*"], _to(port)) for name, port in self._services.items()),
                _route(list(_PAGES), _to(self._services["identity"])),
                _route([], _problem(404, "not_found", "There is no such thing")),
            ],
            "errors": {"routes": [_route([], _problem(503, "unavailable", "This part is away; try again soon"))]},
        }
        return {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "WARN"}}},
            "apps": {"http": {"servers": {"origin": server}}},
        }


def _route(paths: list[str], *handlers: dict[str, Any]) -> dict[str, Any]:
    return {"match": [{"path": paths}] if paths else [], "handle": list(handlers), "terminal": True}


def _to(port: int) -> dict[str, Any]:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{HOST}:{port}"}],
        "transport": {"protocol": "http", "response_header_timeout": "60s"},
        "headers": {"request": {"delete": _FORGEABLE}},
    }


def _problem(status: int, code: str, title: str) -> dict[str, Any]:
    body = {"type": f"urn:control-centre:{code}", "title": title, "status": status, "code": code}
    headers = {"Content-Type": ["application/problem+json"]} | ({"Retry-After": ["1"]} if status == 503 else {})
    return {"handler": "static_response", "status_code": status, "headers": headers, "body": json.dumps(body)}
