"""Links: forged, cut off, for something else, of another tenant or generation; and what scanners do to them."""

import base64
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from libs.common.links import Purpose
from libs.common.sweeps import sweep_once
from services.identity.invitations.rules import expire
from services.identity.invitations.sweeps import deadlines
from services.identity.invitations.tables import Invitation
from services.identity.tables import Table
from tests.identity.conftest import sweeper_of
from tests.identity.story import CSRF, PASSWORD, World

ACCEPT, RENEW = "/identity/v1/invitations/accept", "/identity/v1/invitations/renew"


def flipped(code: str, at: int) -> str:
    """One bit of the raw code turned over."""
    raw = bytearray(base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)))
    raw[at] ^= 1
    return base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("spoil", "status", "code"),
    [
        (lambda code: code[:-1], 400, "link_unreadable"),
        (lambda code: code[: len(code) // 2], 400, "link_unreadable"),
        (lambda code: "x" * 120, 400, "link_unreadable"),
        (lambda code: flipped(code, -1), 404, "link_not_valid"),
        (lambda code: flipped(code, -40), 404, "link_not_valid"),  # another generation
        (lambda code: flipped(code, -60), 404, "link_not_valid"),  # another invitation
        (lambda code: flipped(code, -80), 404, "link_not_valid"),  # another tenant
    ],
    ids=["cut", "half", "nonsense", "mac", "generation", "id", "tenant"],
)
async def test_a_link_that_we_did_not_make_gets_one_clear_answer(
    world: World, spoil: Any, status: int, code: str
) -> None:
    """R-07: forged and truncated links, and what was swapped within one."""
    bob = world.member(await world.tenant())
    answer = await world.accept(spoil(await world.invite(bob)))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await world.membership(bob)).state == "none"


async def test_a_link_for_another_purpose_or_tenant_does_not_open_this_door(world: World) -> None:
    """R-19: the purpose is part of the code; R-07: so is the tenant."""
    acme, globex = await world.tenant(), await world.tenant()
    bob = world.member(acme)
    code = await world.invite(bob)
    reset = world.doors.links.make_code(
        Purpose.PASSWORD_RESET, tenant_id=acme.id, id=uuid.uuid4(), generation=1, address=bob.email, deadline=None
    )
    assert (await world.accept(reset)).status_code == 404
    redeemed = await world.browser().post(
        "/identity/v1/password-resets/redeem", json={"code": code, "password": PASSWORD}
    )
    assert redeemed.status_code == 404
    page = await world.browser().get(f"/t/{globex.slug}/invitation/{code}", follow_redirects=True)
    assert page.status_code == 404
    assert (await world.accept(code)).status_code == 200


async def test_the_true_cause_is_named(world: World) -> None:
    """R-06: expired, replaced, revoked, declined, already used."""
    acme = await world.tenant()
    causes = {}
    expired = world.member(acme, deadline=datetime.now(UTC) - timedelta(seconds=1))
    causes["expired"] = await world.invite(expired)
    replaced = world.member(acme)
    causes["replaced"] = await world.invite(replaced)
    await world.invite(replaced)
    revoked = world.member(acme)
    causes["revoked"] = await world.invite(revoked)
    await world.revoke(revoked)
    declined = world.member(acme)
    causes["declined"] = await world.invite(declined)
    await world.browser().post("/identity/v1/invitations/decline", json={"code": causes["declined"]})
    used = world.member(acme)
    causes["accepted"] = await world.invite(used)
    await world.accept(causes["accepted"])
    for cause, code in causes.items():
        answer = await world.accept(code)
        assert (answer.status_code, answer.json()["code"]) == (410, f"invitation_{cause}")
    assert (await world.facts(declined))[-1] == "ended(declined)"


async def test_a_sweep_ends_what_has_expired_and_asks_the_row_again(world: World) -> None:
    """D-20 as T-04 has it: the invitation expires, the member stays and may be invited again."""
    acme = await world.tenant()
    late = world.member(acme, deadline=datetime.now(UTC) - timedelta(seconds=1))
    early = world.member(acme)
    await world.invite(late)
    await world.invite(early)
    async with sweeper_of(world) as sweeper:
        await sweep_once(deadlines, world.doors.database, sweeper)
        await sweep_once(deadlines, world.doors.database, sweeper)
    assert await world.facts(late) == ["issued", "ended(expired)"]
    assert await world.facts(early) == ["issued"]
    again = await world.invite(late, deadline=datetime.now(UTC) + timedelta(days=1))
    assert (await world.accept(again)).status_code == 200


async def test_what_the_sweep_found_may_have_moved_on(world: World) -> None:
    """An invitation that was renewed or accepted between the look and the deed stays as it is."""
    acme = await world.tenant()
    renewed, accepted = world.member(acme), world.member(acme)
    await world.invite(renewed)
    await world.accept(await world.invite(accepted))
    for member in (renewed, accepted):
        before = await world.facts(member)
        async with world.doors.database.session(acme.id) as session:
            query = select(Invitation.id).where(Invitation.member_id == member.id)
            await expire(session, acme.id, (await session.scalars(query)).one())
        assert await world.facts(member) == before


async def test_a_lapsed_invitation_is_renewed_by_asking_once_and_the_answer_is_always_the_same(world: World) -> None:
    """T-17, D-34: *send me a new link* asks members, once per generation; an open, revoked or used one asks nobody."""
    acme = await world.tenant()
    past = datetime.now(UTC) - timedelta(seconds=1)
    lapsed, revoked, still_open = world.member(acme, deadline=past), world.member(acme), world.member(acme)
    codes = [await world.invite(member) for member in (lapsed, revoked, still_open)]
    await world.revoke(revoked)
    for code in (*codes, *codes):
        answer = await world.browser().post(RENEW, json={"code": code})
        assert (answer.status_code, answer.content) == (204, b"")
    assert (await world.facts(lapsed)).count("renewal_asked") == 1
    assert "renewal_asked" not in [*await world.facts(revoked), *await world.facts(still_open)]


async def test_an_existing_person_signs_in_and_confirms(world: World) -> None:
    """R-01: no second account, no sign-up; her own password stays."""
    acme, globex = await world.tenant(), await world.tenant()
    bob, _ = await world.joined(acme)
    other = world.member(globex, email=bob.email.upper())
    code = await world.invite(other)
    assert (await world.accept(code, "another password of mine")).json()["code"] == "person_known"
    browser = world.browser()
    assert (await world.confirm(code, browser)).status_code == 401
    await world.sign_in(None, bob.email, browser=browser)
    assert (await world.confirm(code, browser)).json() == {"slug": globex.slug, "waits": None}
    async with world.doors.database.session(acme.id) as session:
        count = select(func.count()).select_from(Table.metadata.tables["person_addresses"])
        key = Table.metadata.tables["person_addresses"].c.address_key == bob.email
        assert await session.scalar(count.where(key)) == 1
    assert (await world.sign_in(globex, other.login)).status_code == 201


async def test_a_wrong_signed_in_person_is_refused_with_masked_addresses_and_the_invitation_stays(
    world: World,
) -> None:
    """R-06"""
    acme = await world.tenant()
    _, browser = await world.joined(acme, email=f"eve-{uuid.uuid4().hex}@example.org")
    bob = world.member(acme)
    code = await world.invite(bob)
    for body in ({"code": code}, {"code": code, "password": PASSWORD}):
        answer = await browser.post(ACCEPT, json=body, headers=CSRF)
        assert (answer.status_code, answer.json()["code"]) == (409, "account_mismatch")
        assert (answer.json()["invited"], answer.json()["signed_in"]) == ("b…@example.org", "e…@example.org")
    await browser.delete("/identity/v1/sessions/current", headers=CSRF)
    assert (await world.accept(code, browser=browser)).status_code == 200


async def test_a_person_is_one_member_of_a_tenant(world: World) -> None:
    """R-01: already a member here under another record: refused, and the invitation stays."""
    acme = await world.tenant()
    bob, browser = await world.joined(acme)
    await world.deliver(bob, world.next(bob, email=f"new-{bob.email}"))
    twin = world.member(acme, email=bob.email.removeprefix("new-"))
    answer = await world.confirm(await world.invite(twin), browser)
    assert (answer.status_code, answer.json()["code"]) == (409, "already_member")
    assert (await world.membership(twin)).state == "none"


async def test_one_open_invitation_per_address(world: World) -> None:
    """R-03, by a unique index: a second one waits until the first has ended."""
    acme = await world.tenant()
    bob = world.member(acme)
    await world.invite(bob)
    twin = world.member(acme, email=bob.email.upper())
    with pytest.raises(Exception, match="uq_invitations_open_email"):
        await world.deliver(twin, world.next_invite(twin))


async def test_scanners_change_nothing(world: World) -> None:
    """R-05: fifty GET, HEAD and OPTIONS, redirects followed, no click: no row has moved, the link still works."""
    bob = world.member(await world.tenant())
    code = await world.invite(bob)
    path = f"/t/{bob.tenant.slug}/invitation/{code}"
    before = await everything(world, bob.tenant.id)
    scanner = world.browser()
    for number in range(50):
        method = ("GET", "HEAD", "OPTIONS")[number % 3]
        answer = await scanner.request(method, path, follow_redirects=True)
        assert answer.status_code in (200, 204)
        await scanner.get(f"/t/{bob.tenant.slug}/invitation?x={number}")
    assert await everything(world, bob.tenant.id) == before
    assert (await world.accept(code)).status_code == 200


async def test_a_post_without_the_pages_nonce_changes_nothing(world: World) -> None:
    """R-05: the nonce belongs to the browser that was shown the page."""
    bob = world.member(await world.tenant())
    code = await world.invite(bob)
    path = f"/t/{bob.tenant.slug}/invitation"
    shown, stranger = world.browser(), world.browser()
    for browser in (shown, stranger):
        await browser.get(f"{path}/{code}", follow_redirects=True)
    page = await shown.get(path)
    nonce = page.text.split('name="nonce" value="')[1].split('"')[0]
    for fields in ({}, {"nonce": "x"}, {"nonce": nonce}):
        answer = await stranger.post(path, data={"do": "accept", "password": PASSWORD, **fields})
        assert answer.status_code == 403
    assert (await world.membership(bob)).state == "none"
    answer = await shown.post(path, data={"do": "accept", "password": PASSWORD, "nonce": nonce})
    assert answer.status_code == 303


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_another_sites_post_is_refused(world: World, headers: dict[str, str]) -> None:
    bob = world.member(await world.tenant())
    code = await world.invite(bob)
    for path in ("accept", "decline"):
        answer = await world.browser().post(
            f"/identity/v1/invitations/{path}", json={"code": code}, headers={**CSRF, **headers}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert (await world.accept(code)).status_code == 200


async def everything(world: World, tenant_id: uuid.UUID) -> dict[str, str]:
    """A digest of each table, as this tenant sees it."""
    found = {}
    async with world.doors.database.session(tenant_id) as session:
        for name in sorted(Table.metadata.tables):
            digest = text(f"SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {name} t")  # noqa: S608
            found[name] = str(await session.scalar(digest))
    return found
