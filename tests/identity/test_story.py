"""The main job, told once: invited, accepted, signed in, revoked, invited again."""

from tests.identity.story import World


async def test_a_member_is_invited_accepts_signs_in_is_revoked_and_comes_back_by_a_new_link(world: World) -> None:
    """D-03, D-11, D-12, A-15: a personal link; accepting sets a password; then login name and password sign in."""
    acme = await world.tenant()
    bob = world.member(acme)
    code = await world.invite(bob)
    assert await world.facts(bob) == ["issued"]

    assert (await world.accept(code)).status_code == 200
    assert await world.facts(bob) == ["issued", "ended(accepted)", "activated", "roles_changed", "signed_in"]

    laptop = world.browser()
    answer = await world.sign_in(acme, bob.login, browser=laptop)
    assert (answer.status_code, answer.json()["tenant"]) == (201, acme.slug)
    token = await world.token(laptop)
    assert token.status_code == 200
    me = await laptop.get("/identity/v1/me", headers={"Authorization": f"Bearer {token.json()['access_token']}"})
    assert me.json()["id"] == str(bob.id)

    await world.revoke(bob)
    assert (await world.token(laptop, acme)).status_code == 403
    assert (await world.sign_in(acme, bob.login)).status_code == 401

    again = await world.invite(bob)
    old = await world.accept(code)
    assert (old.status_code, old.json()["code"]) == (410, "invitation_replaced")
    assert (await world.sign_in(None, bob.email, browser=laptop)).status_code == 201
    assert (await world.confirm(again, laptop)).status_code == 200
    assert (await world.token(laptop, acme)).status_code == 200
