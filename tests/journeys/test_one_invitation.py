"""The story of one invitation, from the operator's command to the refused token, through gateway and mail."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from libs.common.stack.visitor import Visitor
from tests.journeys.world import PASSWORD, World

SERVICES = ("identity", "members", "documents", "notifier")


def _statuses(visitor: Visitor) -> list[int]:
    return [visitor.get(f"/{service}/v1/me").status_code for service in SERVICES]


def _code(answer: httpx.Response) -> Any:
    return answer.status_code, answer.json()["code"]


def test_an_operator_needs_password_and_totp(world: World, visitor: Callable[[], Visitor]) -> None:
    operator = world.operator
    with pytest.raises(RuntimeError, match="401"):
        visitor().sign_in_as_operator(operator.address, "not the password", operator.totp)
    with pytest.raises(RuntimeError, match="401"):
        visitor().sign_in_as_operator(operator.address, operator.password, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    assert operator.visitor.get("/members/v1/operator/tenants").status_code == 200
    assert operator.visitor.get("/members/v1/members").status_code == 401


def test_the_owner_is_mailed_in_german_and_looking_changes_nothing(
    world: World, visitor: Callable[[], Visitor]
) -> None:
    """R-05, D-03, D-11, D-12"""
    address = "eva@beratung.example.org"
    world.operator.ask(
        "POST",
        "/members/v1/operator/tenants",
        {"slug": "beratung", "name": "Beratung Nord", "locale": "de", "seats": 3, "owner": {"email": address}},
    )
    somebody = visitor()
    mail = somebody.wait_for_mail(address)
    assert "Einladung" in mail["subject"]
    assert "Beratung Nord" in mail["text"]
    link = somebody.link_in(mail)
    for method in ("GET", "HEAD", "GET", "OPTIONS", "HEAD"):
        assert visitor().request_page(method, link).status < 400
    page = somebody.open(link)
    assert "Beratung Nord" in page.text
    assert link.rsplit("/", 1)[1] not in page.path
    page.submit("accept", password=PASSWORD)
    somebody.sign_in("beratung", address, PASSWORD)
    me = somebody.ask("GET", "/members/v1/me")
    assert "tenant:own" in me["rights"]


def test_invited_shown_resent_accepted(world: World, visitor: Callable[[], Visitor]) -> None:
    """A-14, D-05, D-15, D-17, D-18, E-10, E-11, E-12, R-12: added, invited, logged, sent again, accepted."""
    tenant = world.tenant("acme", seats=3)
    bob = world.add(tenant, "bob")
    assert (bob["column"], bob["guidance"]["code"], bob["account"]) == ("added", "invite", "no_access")
    actions = {action["action"]: action for action in bob["allowed_actions"]}
    assert actions["invite"]["allowed"]
    assert not actions["revoke"]["allowed"]
    assert actions["revoke"]["reason"]

    invited = tenant.owner.ask("POST", f"/members/v1/members/{bob['id']}/invite", {})
    assert (invited["column"], invited["guidance"]["code"]) == ("invited", "wait")
    first = tenant.owner.wait_for_mail(bob["email"])
    world.wait_for_row(tenant, bob["id"], lambda row: row["account"] == "invitation_sent", "invitation sent")

    [message] = tenant.owner.ask("GET", f"/notifier/v1/messages?member_id={bob['id']}")["items"]
    message = tenant.owner.ask("GET", f"/notifier/v1/messages/{message['id']}")
    assert (message["state"], message["locale"], len(message["attempts"])) == ("sent", "de", 1)
    assert message["template"]
    assert message["template_version"]
    assert message["attempts"][0]["code"] == 250
    code = tenant.owner.link_in(first).rsplit("/", 1)[1]
    assert code not in str(message)

    copy = tenant.owner.ask("POST", f"/notifier/v1/messages/{message['id']}/resend")
    assert copy["copy_of"] == message["id"]
    second = tenant.owner.wait_for_mail(bob["email"], 2)
    assert tenant.owner.link_in(second) == tenant.owner.link_in(first)
    assert second["subject"] == first["subject"]

    somebody = visitor()
    world.accept(somebody, bob["email"], count=2)
    somebody.sign_in(tenant.slug, "bob", PASSWORD)
    row = world.wait_for_row(
        tenant, bob["id"], lambda row: row["column"] == "active" and row["last_login_at"], "active"
    )
    assert (row["guidance"]["code"], row["account"]) == ("ok", "last_login")
    assert tenant.owner.ask("GET", "/members/v1/seats")["used"] == 2


def test_the_fourth_of_three_is_refused_and_of_two_admins_one_gets_the_last_seat(world: World) -> None:
    """R-08, E-02"""
    tenant = world.tenant("acme", seats=3)
    world.bring_in(tenant, "bob")
    people = [world.add(tenant, login) for login in ("carla", "dora")]
    answers: list[httpx.Response] = []
    barrier = threading.Barrier(2)

    def invite(member: Any) -> None:
        admin = world.visitor()
        admin.token = tenant.owner.token
        barrier.wait()
        answers.append(admin.post(f"/members/v1/members/{member['id']}/invite"))

    threads = [threading.Thread(target=invite, args=(member,)) for member in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert _code(refused) == (409, "seat_limit_reached")
    seats = tenant.owner.ask("GET", "/members/v1/seats")
    assert (seats["used"], seats["reserved"], seats["limit"]) == (2, 1, 3)


def test_a_revoked_token_is_refused_everywhere_and_the_way_back_is_a_new_link(
    world: World, visitor: Callable[[], Visitor]
) -> None:
    """R-10, R-03, E-14: refused by all four services, the seat free, the old link replaced."""
    tenant = world.tenant("acme", seats=3)
    bob, browser = world.bring_in(tenant, "bob")
    old = tenant.owner.link(bob["email"])
    assert _statuses(browser) == [200, 200, 200, 200]
    assert {browser.ask("GET", f"/{service}/v1/me")["id"] for service in SERVICES} == {bob["id"]}

    revoked = tenant.owner.ask("POST", f"/members/v1/members/{bob['id']}/revoke", {})
    assert (revoked["column"], revoked["guidance"]["code"]) == ("revoked", "invite")
    started = time.monotonic()
    browser.wait(lambda: _statuses(browser) == [401, 401, 401, 401], "the refusal", patience=5)
    assert time.monotonic() - started < 5
    assert tenant.owner.ask("GET", "/members/v1/seats")["used"] == 1
    with pytest.raises(RuntimeError, match=r"40[13]"):
        browser.take_token(tenant.slug)

    tenant.owner.ask("POST", f"/members/v1/members/{bob['id']}/invite", {})
    new = tenant.owner.link(bob["email"], 2)
    assert new != old
    page = visitor().open(old)
    assert page.status == 410
    assert "ersetzt" in page.text
    again = visitor()
    page = again.open(new)
    page.submit("sign_in", password=PASSWORD).submit("confirm")
    again.sign_in(tenant.slug, "bob", PASSWORD)
    assert _statuses(again) == [200, 200, 200, 200]


def test_two_tenants_with_the_same_names_see_nothing_of_each_other(world: World) -> None:
    """R-07, R-20: the same login names and addresses in another tenant never collide, and nothing crosses over."""
    acme, globex = world.tenant("acme"), world.tenant("globex")
    address = f"bob@{acme.slug}.example.org"
    mine = world.add(acme, "bob", email=address, invite=True)
    theirs = world.add(globex, "bob", email=address, invite=True)
    assert mine["id"] != theirs["id"]
    acme.owner.wait_for_mail(address, 2)
    for path in ("/members/v1/members", "/notifier/v1/messages", "/identity/v1/sessions"):
        seen = str(globex.owner.ask("GET", path))
        assert mine["id"] not in seen
        assert acme.slug not in seen.replace(address, "")
    for method, path in (
        ("GET", f"/members/v1/members/{mine['id']}"),
        ("POST", f"/members/v1/members/{mine['id']}/invite"),
        ("POST", f"/members/v1/members/{mine['id']}/revoke"),
        ("GET", f"/members/v1/members/{mine['id']}/history"),
    ):
        answer = globex.owner.call(method, path, json={} if method == "POST" else None)
        assert _code(answer) == (404, "not_found")
