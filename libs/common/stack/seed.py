"""The demo: what a fresh stack holds for whoever looks at it first. Made over HTTP, as a stranger would."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from libs.common.stack.state import write_private
from libs.common.stack.visitor import Visitor

if TYPE_CHECKING:
    from libs.common.stack.stack import Stack


class Operator(msgspec.Struct, frozen=True):
    address: str = ""
    password: str = ""
    totp: str = ""
    """The secret, as authenticator apps take it."""


class Member(msgspec.Struct, frozen=True):
    login: str
    address: str
    password: str
    column: str
    """Of the status matrix: added, invited, active, locked, …"""


class Tenant(msgspec.Struct, frozen=True):
    slug: str
    members: Sequence[Member] = ()


class Demo(msgspec.Struct, frozen=True):
    operator: Operator = Operator()
    demo: Sequence[Tenant] = ()


def seed(stack: "Stack") -> Demo:
    """An operator and two tenants, one German, one English, with somebody in every state. What an earlier start made is
    found again.
    """
    remembered = stack.state.folder / "demo.json"
    if remembered.exists():
        return msgspec.json.decode(remembered.read_bytes(), type=Demo)
    if not stack.addresses.mail:
        return Demo()  # mails go to a relay of somebody else's: the demo's people could not read theirs
    with Visitor(stack.gateway, stack.addresses.mail) as somebody:
        operator = _operator(stack, somebody)
        tenants = [_tenant(stack, somebody.token, town) for town in _TOWNS]
    demo = Demo(operator, tenants)
    write_private(remembered, msgspec.json.encode(demo).decode())
    return demo


class _Town(msgspec.Struct, frozen=True):
    """people: login name, name, column."""

    slug: str
    name: str
    locale: str
    time_zone: str
    owner: tuple[str, str]
    people: Sequence[tuple[str, str, str]]


_PASSWORD = "Kraniche ziehen im Herbst"  # noqa: S105 of the demo's people, on this machine only
_TOWNS = (
    _Town(
        "beratung-nord",
        "Beratungsstelle Nord",
        "de",
        "Europe/Berlin",
        ("eva", "Eva Lindqvist"),
        (
            ("bob", "Bob Albers", "active"),
            ("carla", "Carla Öztürk", "invited"),
            ("dora", "Dora Wieczorek", "added"),
            ("emil", "Emil Groß", "locked"),
            ("farid", "Farid Nazari", "inactive"),
            ("greta", "Greta Holm", "revoked"),
            ("hanno", "Hanno Petersen", "marked_deleted"),
        ),
    ),
    _Town(
        "harbour-house",
        "Harbour House",
        "en",
        "Europe/London",
        ("olive", "Olive Marsh"),
        (
            ("bob", "Bob Carter", "active"),
            ("nora", "Nora Quinn", "invited"),
            ("pete", "Pete Lowe", "added"),
        ),
    ),
)

# What brings somebody who is active into the column.
_COMMANDS: Mapping[str, tuple[str, str, object]] = {
    "locked": ("POST", "/lock", {"reason": "demo"}),
    "inactive": ("POST", "/deactivate", {"reason": "demo"}),
    "revoked": ("POST", "/revoke", {"reason": "demo"}),
    "marked_deleted": ("DELETE", "", None),
}


def _operator(stack: "Stack", somebody: Visitor) -> Operator:
    address, password = "operator@control-centre.example", stack.state.secret("demo.operator")
    printed = dict(
        line.split()[:2] for line in stack.control_centre("identity", "operators", "create", address).splitlines()
    )
    somebody.sign_in_as_operator(address, printed["password"], printed["totp"], new_password=password)
    return Operator(address, password, printed["totp"])


def _tenant(stack: "Stack", operators_token: str, town: _Town) -> Tenant:
    login, name = town.owner
    address = f"{login}@{town.slug}.example"
    about = {"slug": town.slug, "name": town.name, "locale": town.locale, "time_zone": town.time_zone, "seats": 10}
    with Visitor(stack.gateway, stack.addresses.mail) as owner:
        owner.token = operators_token
        preset = {"login_name": login, "display_name": name, "email": address}
        owner.ask("POST", "/members/v1/operator/tenants", {**about, "owner": preset})
        _accept(owner, address)
        owner.sign_in(town.slug, login, _PASSWORD)
        people = [_person(owner, town, *person) for person in town.people]
        return Tenant(town.slug, [Member(login, address, _PASSWORD, "active"), *people])


def _person(owner: Visitor, town: _Town, login: str, name: str, column: str) -> Member:
    address = f"{login}@{town.slug}.example"
    said = {"login_name": login, "display_name": name, "email": address, "invite": column != "added"}
    member = owner.ask("POST", "/members/v1/members", said)
    if column in ("added", "invited"):
        return Member(login, address, "", column)
    with Visitor(owner.gateway, owner.mail) as browser:
        _accept(browser, address)
        if column == "active":
            browser.sign_in(town.slug, login, _PASSWORD)
    path = f"/members/v1/members/{member['id']}"

    def accepted() -> object:
        row = owner.ask("GET", path)
        return row if row["column"] == "active" else None

    owner.wait(accepted, f"{login} to be active")
    if column in _COMMANDS:
        method, command, body = _COMMANDS[column]
        version = owner.get(path).headers["etag"]
        owner.ask(method, path + command, body, headers={"If-Match": version})
    return Member(login, address, _PASSWORD, column)


def _accept(browser: Visitor, address: str) -> None:
    done = browser.open(browser.link(address)).submit("accept", password=_PASSWORD)
    if done.status != 200:
        raise RuntimeError(f"{address} could not accept: {done.status} {done.text}")
