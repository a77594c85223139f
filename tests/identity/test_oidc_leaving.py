"""A provider's keys change, and sessions that it opened end."""

import time

from joserfc.jwk import RSAKey
from sqlalchemy import text

from tests.identity.oidc import (
    BOB,
    Connected,
    nonce_in,
)


async def test_keys_change_without_an_outage_and_a_withdrawn_one_is_refused(acme: Connected) -> None:
    await acme.invited()
    await acme.signed_in()
    old = acme.provider.key
    acme.provider.key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    acme.provider.published = [acme.provider.key]
    await _age_keys(acme)
    await acme.signed_in()
    acme.provider.key = old
    await _age_keys(acme)
    await acme.refused("answer_not_valid.unknown_key")


async def test_a_key_set_that_cannot_be_had_leaves_the_last_one_in_force(acme: Connected) -> None:
    await acme.invited()
    acme.provider.answers["/keys"] = (500, {}, b"")
    await _age_keys(acme, days=2)
    await acme.signed_in()


async def test_odd_tokens_do_not_make_us_hammer_the_provider(acme: Connected) -> None:
    await acme.invited()
    acme.provider.header = {"kid": "two"}
    for _ in range(3):
        await acme.visit(acme.world.browser(), **BOB)
    assert acme.provider.requests.count("/keys") == 1


async def _age_keys(acme: Connected, days: int = 0) -> None:
    async with acme.world.doors.database.session(acme.tenant.id) as session:
        aged = text("UPDATE connections SET keys_at = keys_at - make_interval(days => :days, mins => 5)")
        await session.execute(aged, {"days": days})


async def test_the_provider_ends_sessions_by_back_channel(acme: Connected) -> None:
    """Back-Channel Logout 1.0: by session or by subject; a token that is sent again ends nothing newer."""
    await acme.invited()
    one, two = await acme.signed_in(sid="s1"), await acme.signed_in(sid="s2")
    path = f"/t/{acme.tenant.slug}/connections/{acme.id}/backchannel-logout"
    stranger = acme.world.browser()
    for wrong in (
        acme.provider.logout_token(sub="4711", nonce="x"),
        acme.provider.logout_token(sub="4711", events={}),
        acme.provider.logout_token(sub="4711", aud="somebody else"),
        acme.provider.logout_token(sub="4711", iat=int(time.time()) - 1000),
        acme.provider.logout_token(),
        acme.provider.logout_token(sub="4711", jti=None),
        "nonsense",
    ):
        assert (await stranger.post(path, data={"logout_token": wrong})).status_code == 400
    assert (await stranger.post(path)).status_code == 400
    assert (await acme.world.token(one, acme.tenant)).status_code == 200
    done = await stranger.post(path, data={"logout_token": acme.provider.logout_token(sid="s1")})
    assert (done.status_code, done.headers["cache-control"]) == (200, "no-store")
    assert (await acme.world.token(one, acme.tenant)).status_code == 401
    assert (await acme.world.token(two, acme.tenant)).status_code == 200
    everywhere = acme.provider.logout_token(sub="4711")
    assert (await stranger.post(path, data={"logout_token": everywhere})).status_code == 200
    assert (await acme.world.token(two, acme.tenant)).status_code == 401


async def test_signing_out_offers_the_providers_sign_out(acme: Connected) -> None:
    """RP-Initiated Logout 1.0, with the ID token as its hint."""
    await acme.invited()
    browser = await acme.signed_in()
    path = f"/t/{acme.tenant.slug}"
    page = await browser.get(path)
    page = await browser.post(path, data={"do": "sign_out", "nonce": nonce_in(page.text, path)})
    assert f"{acme.provider.issuer}/end?client_id=" in page.text
    assert "id_token_hint=" in page.text
    assert (await acme.world.token(browser, acme.tenant)).status_code == 401
