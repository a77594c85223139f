"""The demo's identity provider, connected to its first tenant: somebody invited and somebody new can sign in by it."""

from typing import TYPE_CHECKING

import msgspec

from libs.common.stack.provider import Provider
from libs.common.stack.seed import Demo
from libs.common.stack.state import write_private
from libs.common.stack.visitor import Visitor

if TYPE_CHECKING:
    from libs.common.stack.stack import Stack

_CONNECTIONS = "/identity/v1/connections"
_PEOPLE = {"carla": "Carla Öztürk", "ida": "Ida Brandt"}


class SignIn(msgspec.Struct, frozen=True):
    """Where to sign in with the provider, as whom, and with which password."""

    page: str
    people: list[str]
    password: str


class _Made(msgspec.Struct, frozen=True):
    gateway: str
    issuer: str


def connect_provider(stack: "Stack", demo: Demo) -> SignIn | None:
    """Start it, and have the owner of the demo's first tenant connect it; what an earlier start made is found again.
    None without a demo. Raises PartFailed where its packages cannot be installed.
    """
    if not demo.demo:
        return None
    tenant = demo.demo[0]
    people = {
        login: {"email": f"{login}@{tenant.slug}.example", "email_verified": True, "name": name, "groups": ["team"]}
        for login, name in _PEOPLE.items()
    }
    provider = Provider(stack.state, people)
    stack.bring_up(provider)
    remembered = stack.state.folder / "demo_provider.json"
    made = _Made(stack.gateway, provider.issuer)
    if not remembered.exists() or msgspec.json.decode(remembered.read_bytes(), type=_Made) != made:
        owner = tenant.members[0]
        with Visitor(stack.gateway) as visitor:
            _connect(visitor.sign_in(tenant.slug, owner.login, owner.password), provider)
        write_private(remembered, msgspec.json.encode(made).decode())
    return SignIn(f"{stack.gateway}/t/{tenant.slug}", sorted(people), provider.password)


def _connect(owner: Visitor, provider: Provider) -> None:
    about = {
        "name": "Demo provider",
        "issuer": provider.issuer,
        "client_id": "control-centre",
        "client_secret": provider.client_secret,
        "scopes": ["openid", "email", "profile", "groups"],
        "admission": "automatic",
    }
    made = owner.ask("POST", _CONNECTIONS, about)
    provider.register(made)
    path = f"{_CONNECTIONS}/{made['id']}"
    owner.ask("POST", f"{path}/discover")
    owner.ask("PATCH", path, {"state": "enabled"}, headers={"If-Match": f'"{made["version"]}"'})
