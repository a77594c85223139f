"""A tenant's own provider, told with a certified one (npm oidc-provider) on a socket of its own."""

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from libs.common.stack.provider import Provider
from libs.common.stack.stack import Stack
from libs.common.stack.visitor import Page, Visitor
from tests.journeys.world import PASSWORD, Tenant, World

pytestmark = pytest.mark.timeout(400)

CONNECTIONS = "/identity/v1/connections"


class Connected(msgspec.Struct):
    tenant: Tenant
    provider: Provider
    id: str

    def sign_in(self, somebody: Visitor, login: str, do: str = "sign_in") -> Page:
        """Press the button of the provider on the tenant's page, and sign in there."""
        page = somebody.open(f"/t/{self.tenant.slug}")
        action, brought = next(
            (action, brought) for action, brought in page.forms if action.endswith(self.id) and brought["do"] == do
        )
        page = somebody.request_page("POST", somebody.gateway + action, data=brought)
        there = somebody.open(_link(page))
        if "Demo provider" not in there.text:
            return there  # signed in there already
        return there.submit(login=login, password=self.provider.password)

    def change(self, **fields: Any) -> None:
        etag = self.tenant.owner.get(f"{CONNECTIONS}/{self.id}").headers["etag"]
        self.tenant.owner.ask("PATCH", f"{CONNECTIONS}/{self.id}", fields, headers={"If-Match": etag})

    def map(self, groups: Mapping[str, list[str]]) -> None:
        etag = self.tenant.owner.get(f"{CONNECTIONS}/{self.id}").headers["etag"]
        given = [{"value": value, "permission_groups": names} for value, names in groups.items()]
        mapping = {"groups_claim": "groups", "groups": given}
        self.tenant.owner.ask("PUT", f"{CONNECTIONS}/{self.id}/mapping", mapping, headers={"If-Match": etag})


def _link(page: Page) -> str:
    found = re.search(r'class="button" href="([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found.group(1))


@pytest.fixture(scope="module")
def provider(stack: Stack) -> Provider:
    provider = Provider(stack.state, {})
    stack.bring_up(provider)
    return provider


@pytest.fixture(scope="module")
def connect(provider: Provider) -> Callable[..., Connected]:
    """connect(tenant, people): the tenant's owner connects the provider, which has these people."""

    def connect(tenant: Tenant, people: Mapping[str, Mapping[str, Any]], **fields: Any) -> Connected:
        about = {"name": "Demo", "issuer": provider.issuer, "client_id": tenant.slug, **fields}
        about |= {"client_secret": provider.client_secret, "scopes": ["openid", "email", "profile", "groups"]}
        made = tenant.owner.ask("POST", CONNECTIONS, about)
        provider.people |= {login: dict(claims) for login, claims in people.items()}
        provider.register(made)
        tenant.owner.ask("POST", f"{CONNECTIONS}/{made['id']}/discover")
        connected = Connected(tenant, provider, made["id"])
        connected.change(state="enabled")
        return connected

    return connect


def _person(address: str, name: str, **claims: Any) -> dict[str, Any]:
    return {"email": address, "email_verified": True, "name": name, **claims}


def test_carla_was_invited_signs_in_through_the_provider_and_is_one_and_herself(
    world: World, connect: Callable[..., Connected]
) -> None:
    """C-39, R-10, R-14, R-15: her invitation is accepted with what it presets; the provider's groups give more, and
    take it; revoked, she is refused and not made anew.
    """
    tenant = world.tenant("acme")
    carla = world.add(tenant, "carla", invite=True, presets={"permission_groups": ["counsellor"]})
    login = f"carla-{tenant.slug}"
    acme = connect(tenant, {login: _person(carla["email"], "Carla", groups=["leads"])})
    acme.map({"leads": ["supervisor"]})

    browser = world.visitor()
    page = acme.sign_in(browser, login)
    assert (page.status, page.path) == (200, f"/t/{tenant.slug}"), page.text
    assert "Carla" in page.text
    browser.take_token(tenant.slug)
    assert browser.ask("GET", "/members/v1/me")["id"] == carla["id"]
    row = world.wait_for_row(tenant, carla["id"], lambda row: row["column"] == "active", "active")
    assert row["email"] == carla["email"]
    given = tenant.owner.ask("GET", f"/identity/v1/members/{carla['id']}/roles")["grants"]
    assert {(one["name"], one["source"]) for one in given} == {("counsellor", "invitation"), ("supervisor", "sso")}

    again = world.visitor()
    acme.sign_in(again, login)
    assert again.take_token(tenant.slug).ask("GET", "/members/v1/me")["id"] == carla["id"]
    assert len(tenant.owner.ask("GET", "/members/v1/members")["items"]) == 2

    acme.provider.people[login]["groups"] = []
    acme.provider.restart()
    acme.sign_in(world.visitor(), login)
    given = tenant.owner.ask("GET", f"/identity/v1/members/{carla['id']}/roles")["grants"]
    assert [(one["name"], one["source"]) for one in given] == [("counsellor", "invitation")]

    tenant.owner.ask("POST", f"/members/v1/members/{carla['id']}/revoke", {})
    browser.wait(lambda: browser.get("/members/v1/me").status_code == 401, "the token to be refused")
    page = acme.sign_in(world.visitor(), login)
    assert page.status == 403
    acme.change(admission="automatic")
    page = acme.sign_in(world.visitor(), login)
    assert (page.status, "withdrawn" in page.text or "entzogen" in page.text) == (403, True), page.text
    assert len(tenant.owner.ask("GET", "/members/v1/members?column=revoked&column=active")["items"]) == 2


def test_whom_the_provider_knows_comes_in_while_there_is_a_seat(
    world: World, connect: Callable[..., Connected]
) -> None:
    """R-08, R-14: automatic admission asks members; without a seat a page says so, staff have a task, and nobody was
    made.
    """
    tenant = world.tenant("acme", seats=2)
    people = {
        f"{name}-{tenant.slug}": _person(f"{name}@{tenant.slug}.example.org", name.title()) for name in ("dora", "emil")
    }
    acme = connect(tenant, people, admission="automatic")
    dora, emil = world.visitor(), world.visitor()
    page = acme.sign_in(dora, f"dora-{tenant.slug}")
    assert page.status == 200, page.text
    me = dora.take_token(tenant.slug).ask("GET", "/members/v1/me")
    assert me["rights"] == []
    page = acme.sign_in(emil, f"emil-{tenant.slug}")
    assert page.status == 403
    assert "seat" in page.text or "Platz" in page.text
    [task] = tenant.owner.ask("GET", "/members/v1/tasks")["items"]
    assert (task["kind"], task["masked_address"]) == ("seat_missing", f"e…@{tenant.slug}.example.org")
    addresses = {one["email"] for one in tenant.owner.ask("GET", "/members/v1/members")["items"]}
    assert addresses == {tenant.owner_address, f"dora@{tenant.slug}.example.org"}


def test_a_hostile_provider_that_names_another_tenants_person_reaches_nothing(
    world: World, connect: Callable[..., Connected]
) -> None:
    """R-14, design section 4: a provider proves an address only to the tenant that connected it."""
    acme, globex = world.tenant("acme"), world.tenant("globex")
    bob, bobs = world.bring_in(acme, "bob")
    hostile = connect(
        globex,
        {f"bob-{globex.slug}": _person(bob["email"], "Bob"), f"own-{globex.slug}": _person(acme.owner_address, "Eva")},
        admission="automatic",
    )
    before = acme.owner.ask("GET", "/members/v1/members")["items"]
    for login in (f"bob-{globex.slug}", f"own-{globex.slug}"):
        mallory = world.visitor()
        assert hostile.sign_in(mallory, login).status == 200
        with pytest.raises(RuntimeError, match="403"):
            mallory.take_token(acme.slug)
        me = mallory.take_token(globex.slug).ask("GET", "/members/v1/me")
        assert me["tenant_id"] == globex.id
        assert mallory.get(f"/members/v1/members/{bob['id']}").status_code in (403, 404)
        tenants = mallory.call("GET", "/identity/v1/sessions/current", headers={}).json()["tenants"]
        assert tenants == []
    sessions = bobs.ask("GET", "/identity/v1/sessions")["items"]
    assert len(sessions) == 1
    assert bobs.sign_in(acme.slug, "bob", PASSWORD).ask("GET", "/members/v1/me")["id"] == bob["id"]
    after = acme.owner.ask("GET", "/members/v1/members")["items"]
    assert [one["id"] for one in after] == [one["id"] for one in before]


def test_who_is_active_already_connects_it_from_her_own_session_and_signs_out_everywhere(
    world: World, connect: Callable[..., Connected]
) -> None:
    """R-14: an active address is not taken over; her own sign-in binds it. Signing out offers the provider's, too."""
    tenant = world.tenant("acme")
    bob, bobs = world.bring_in(tenant, "bob")
    login = f"bob-{tenant.slug}"
    acme = connect(tenant, {login: _person(bob["email"], "Bob")}, admission="automatic")
    assert acme.sign_in(world.visitor(), login).status == 403

    page = acme.sign_in(bobs, login, do="connect")
    assert page.status == 200, page.text
    browser = world.visitor()
    page = acme.sign_in(browser, login)
    assert page.status == 200, page.text
    assert browser.take_token(tenant.slug).ask("GET", "/members/v1/me")["id"] == bob["id"]
    out = page.submit("sign_out")
    asked = browser.open(_link(out))
    assert asked.status == 200
    assert browser.get("/members/v1/me").status_code in (200, 401)
    browser.wait(lambda: browser.get("/members/v1/me").status_code == 401, "the token to be refused")
