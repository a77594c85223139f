"""Setting a provider up: by API and by page, tried before anybody depends on it."""

import html
import re
import warnings
from typing import Any

from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey
from sqlalchemy import text

from services.identity.pages.strings import STRINGS
from tests.identity.fake_provider import CLIENT, SECRET
from tests.identity.oidc import (
    BOB,
    CONNECTIONS,
    MAPPING,
    Connected,
    create,
    nonce_in,
    sent_to,
)
from tests.identity.story import As, World


async def test_a_provider_that_describes_itself_badly_is_named_so(world: World, as_: As) -> None:
    """In words an admin can act on; nothing of it is kept, and it cannot be enabled."""
    tenant = await world.tenant()
    admin = as_("owner", tenant.id)
    from tests.identity import fake_provider

    async with fake_provider.running() as provider:
        id = await create(admin, provider.issuer)
        wrongs: list[tuple[dict[str, Any], str]] = [
            ({"issuer": "https://evil.example"}, "issuer"),
            ({"issuer": f"{provider.issuer}/"}, "issuer"),
            ({"response_types_supported": ["token"]}, "no_code_flow"),
            ({"code_challenge_methods_supported": ["plain"]}, "no_pkce"),
            ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "algorithms"),
            ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "client_authentication"),
            ({"token_endpoint": "file:///etc/passwd"}, "address"),
            ({"authorization_endpoint": f"{provider.issuer}/\r\nSet-Cookie: a=b"}, "address"),
            ({"end_session_endpoint": f"{provider.issuer}/schlüssel"}, "address"),
            ({"token_endpoint": None}, "not_a_description"),
            ({"response_types_supported": ["code", "\0"]}, "not_a_description"),
            ({"jwks_uri": "http://169.254.169.254/keys"}, "keys_not_allowed"),
            ({"jwks_uri": f"{provider.issuer}/nothing"}, "keys_missing"),
        ]
        for said, reason in wrongs:
            provider.said = said
            answer = await admin.post(f"{CONNECTIONS}/{id}/discover")
            assert (answer.status_code, answer.json().get("reason")) == (422, reason), answer.text
            assert f"error.provider_unfit.{reason}" in STRINGS
        provider.said = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            weak = RSAKey.generate_key(1024, {"kid": "weak"}).as_dict(private=False)
        for keys in ([], [weak], [{"kty": "oct", "k": "c2VjcmV0"}]):
            provider.published = list(keys)
            answer = await admin.post(f"{CONNECTIONS}/{id}/discover")
            assert (answer.status_code, answer.json().get("reason")) == (422, "no_keys"), answer.text
        answer = await admin.patch(f"{CONNECTIONS}/{id}", json={"state": "enabled"}, headers={"If-Match": '"1"'})
        assert (answer.status_code, answer.json()["code"]) == (409, "not_discovered")


async def test_a_test_sign_in_shows_what_comes_and_what_it_comes_to_and_changes_nothing(acme: Connected) -> None:
    _, browser = await acme.world.owner(acme.tenant)
    await acme.map(**MAPPING)
    await acme.change(state="disabled")
    path = f"/t/{acme.tenant.slug}/connections/{acme.id}"

    async def test(**claims: Any) -> str:
        page = await browser.get(path)
        assert page.status_code == 200, page.text
        away = await browser.post(path, data={"do": "test", "nonce": nonce_in(page.text, path)})

        back = acme.provider.authorize(sent_to(away), **claims)
        answer = await browser.get(f"{acme.callback}?{back}", follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return html.unescape(answer.text)

    shown = await test(**{**BOB, "groups": ["leads", "admins"], "favourite": "tea"})
    for word in ("favourite", "member, admin, supervisor", "bob@example.org", STRINGS["test_good"][0]):
        assert word in shown, word
    shown = await test(email="bob@example.org", email_verified=False)
    assert STRINGS["error.remark.email_not_verified"][0] in shown
    assert STRINGS["error.remark.no_groups"][0] in shown
    acme.provider.header = {"kid": "two"}
    assert STRINGS["error.answer_not_valid.unknown_key"][0] in await test(**BOB)
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        assert (await session.scalars(text("SELECT count(*) FROM connection_subjects"))).one() == 0
    last = await acme.last()
    assert (last["purpose"], last["outcome"]) == ("test", "answer_not_valid.unknown_key")


async def test_a_preview_says_what_claims_would_come_to(acme: Connected) -> None:
    given = {"claims": {**BOB, "sub": "1", "groups": ["leads"], "locale": "de-AT"}, "mapping": MAPPING}
    answer = await acme.admin.post(f"{acme.path}/mapping/preview", json=given)
    assert answer.json() == {
        "subject": "1", "email": "bob@example.org", "display_name": "Bob", "locale": "de", "roles": [],
        "permission_groups": ["supervisor"], "groups": ["leads"], "remarks": [],
    }  # fmt: skip


async def test_who_may_do_what(acme: Connected, as_: As, world: World) -> None:
    """R-07: anonymous 401, without the right 403, another tenant's 404, allowed."""
    other = await world.tenant()
    etag = {"If-Match": '"99"'}
    about = {"name": "X", "issuer": acme.provider.issuer, "client_id": CLIENT, "client_secret": SECRET}
    routes: list[tuple[str, str, Any]] = [
        ("GET", acme.path, None),
        ("PATCH", acme.path, {"name": "Y"}),
        ("DELETE", acme.path, None),
        ("POST", f"{acme.path}/discover", None),
        ("PUT", f"{acme.path}/mapping", MAPPING),
        ("POST", f"{acme.path}/mapping/preview", {"claims": {}}),
        ("GET", f"{acme.path}/attempts", None),
        ("GET", f"{acme.path}/subjects", None),
    ]
    callers = {401: as_(None), 403: as_("counsellor", acme.tenant.id), 404: as_("owner", other.id)}
    for method, path, body in [*routes, ("GET", CONNECTIONS, None), ("POST", CONNECTIONS, about)]:
        for status, caller in callers.items():
            if status == 404 and path == CONNECTIONS:
                continue
            answer = await caller.request(method, path, json=body, headers=etag)
            assert answer.status_code == status, (method, path, status, answer.text)
    for method, path, body in routes:
        answer = await acme.admin.request(method, path, json=body, headers=etag)
        assert answer.status_code in (200, 412), (method, path, answer.text)
    assert (await callers[404].get(CONNECTIONS)).json() == {"items": []}
    assert len((await acme.admin.get(CONNECTIONS)).json()["items"]) == 1


async def test_members_are_found_by_the_providers_id(acme: Connected) -> None:
    """C-16: the identity provider's id and its id of somebody."""
    bob = await acme.invited()
    await acme.signed_in()
    found = (await acme.admin.get(f"{acme.path}/subjects", params={"subject": "4711"})).json()["items"]
    assert [(one["member_id"], one["subject"]) for one in found] == [(str(bob.id), "4711")]
    assert (await acme.admin.get(f"{acme.path}/subjects", params={"subject": "0815"})).json()["items"] == []


async def test_setup_pages_are_for_admins(acme: Connected) -> None:
    _, member = await acme.world.joined(acme.tenant)
    for path in ("connections", f"connections/{acme.id}"):
        assert (await member.get(f"/t/{acme.tenant.slug}/{path}")).status_code == 403
        assert (await acme.world.browser().get(f"/t/{acme.tenant.slug}/{path}")).status_code == 401


async def test_an_admin_sets_it_up_by_page(world: World) -> None:
    """Made, mapped, enabled and removed without JavaScript."""
    tenant = await world.tenant()
    _, browser = await world.owner(tenant)
    base = f"/t/{tenant.slug}/connections"
    from tests.identity import fake_provider

    async with fake_provider.running() as provider:
        page = await browser.get(base)
        about = {"name": "Acme ID", "issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET}
        page = await browser.post(base, data={**about, "nonce": nonce_in(page.text, base)}, follow_redirects=True)
        assert (page.status_code, page.url.path.startswith(base + "/")) == (200, True), page.text
        path = page.url.path
        assert f"{path}/callback" in page.text

        async def press(do: str, **fields: Any) -> str:
            current = await browser.get(path)
            version = re.search(r'name="version" value="(\d+)"', current.text)
            sent = {"do": do, "nonce": nonce_in(current.text, path), "version": version.group(1) if version else "0"}
            answer = await browser.post(path, data={**sent, **fields}, follow_redirects=True)
            assert answer.status_code in (200, 400), answer.text
            return html.unescape(answer.text)

        assert "leads = supervisor" in await press("map", groups_claim="groups", groups="leads = supervisor")
        refused = await press("map", groups_claim="groups", groups="leads = admin\noops")
        assert ">leads = admin\noops</textarea>" in refused
        assert "supervisor" in await press("preview", claims='{"sub": "1", "groups": ["leads"]}')
        assert STRINGS["disable"][0] in await press("enable")
        assert "Acme ID" in (await world.browser().get(f"/t/{tenant.slug}")).text
        assert "Neu" in await press("change", name="Neu", client_id=CLIENT, scopes="openid", admission="off")
        assert STRINGS["no_connections"][0] in await press("delete")
