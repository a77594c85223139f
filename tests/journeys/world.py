"""The people of the journeys, and what they commonly do."""

import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from libs.common.stack.stack import Stack
from libs.common.stack.visitor import Visitor

PASSWORD = "correct horse battery staple"


class Operator(msgspec.Struct, frozen=True):
    address: str
    password: str
    totp: str
    visitor: Visitor

    @classmethod
    def create(cls, stack: Stack, address: str, password: str) -> "Operator":
        """By the command line; the one-time password is replaced at the first sign-in."""
        printed = stack.control_centre("identity", "operators", "create", address)
        shown = dict(line.split()[:2] for line in printed.splitlines())
        visitor = Visitor(stack.gateway, stack.addresses.mail)
        visitor.sign_in_as_operator(address, shown["password"], shown["totp"], new_password=password)
        return cls(address, password, shown["totp"], visitor)

    def ask(self, method: str, path: str, json: Any = None) -> Any:
        return self.visitor.ask(method, path, json)


class Tenant(msgspec.Struct, frozen=True):
    id: str
    slug: str
    owner: Visitor
    owner_id: str
    owner_address: str


class World:
    def __init__(self, stack: Stack, operator: Operator, visitor: Callable[[], Visitor]) -> None:
        self.stack, self.operator, self.visitor = stack, operator, visitor

    def tenant(self, name: str = "acme", *, seats: int = 10, locale: str = "de") -> Tenant:
        """A tenant whose owner has accepted and is signed in; slug and addresses are new each time."""
        slug = f"{name}-{uuid.uuid4().hex[:8]}"
        address = f"owner@{slug}.example.org"
        made = self.operator.ask(
            "POST",
            "/members/v1/operator/tenants",
            {"slug": slug, "name": name.title(), "locale": locale, "seats": seats, "owner": {"email": address}},
        )
        owner = self.visitor()
        self.accept(owner, address)
        owner.sign_in(slug, address, PASSWORD)
        members = owner.ask("GET", "/members/v1/members")["items"]
        return Tenant(made["id"], slug, owner, members[0]["id"], address)

    def accept(self, visitor: Visitor, address: str, *, count: int = 1, password: str = PASSWORD) -> None:
        """Follow the link in the newest mail and set a password."""
        page = visitor.open(visitor.link(address, count))
        assert page.status == 200, page.text
        done = page.submit("accept", password=password)
        assert done.status == 200, done.text

    def add(self, tenant: Tenant, login: str, **fields: Any) -> Any:
        """A member by her login name, with an address of the tenant's."""
        said = {"login_name": login, "display_name": login.title(), "email": f"{login}@{tenant.slug}.example.org"}
        return tenant.owner.ask("POST", "/members/v1/members", {**said, **fields})

    def bring_in(self, tenant: Tenant, login: str, **presets: Any) -> tuple[Any, Visitor]:
        """Added, invited, accepted, signed in."""
        member = self.add(tenant, login, invite=True, **({"presets": presets} if presets else {}))
        somebody = self.visitor()
        self.accept(somebody, member["email"])
        somebody.sign_in(tenant.slug, login, PASSWORD)
        return member, somebody

    def row(self, tenant: Tenant, member_id: str) -> Any:
        return tenant.owner.ask("GET", f"/members/v1/members/{member_id}")

    def wait_for_row(self, tenant: Tenant, member_id: str, look: Callable[[Any], bool], what: str) -> Any:
        def found() -> Any:
            row = self.row(tenant, member_id)
            return row if look(row) else None

        return tenant.owner.wait(found, what)
