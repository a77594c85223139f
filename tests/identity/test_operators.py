"""Operators: password and one-time code always, and a token that is good under /operator/ alone."""

import asyncio
import time
import uuid

import pyotp
import pytest
from click.testing import CliRunner
from httpx import Response

from libs.common.db import PLATFORM
from services.identity.cli import commands
from services.identity.operators.rules import NewOperator, OperatorKnown, create_operator
from services.identity.settings import Settings
from tests.identity.story import World

SIGN_IN, OWN = "/identity/v1/operator/sessions", "a river under the bridge"


async def make(world: World) -> tuple[str, NewOperator]:
    address = f"ops-{uuid.uuid4().hex}@example.org"
    return address, await create_operator(world.doors, address)


async def sign_in(world: World, address: str, password: str, totp: str, new: str | None = None) -> Response:
    body = {"address": address, "password": password, "totp": totp} | ({"new_password": new} if new else {})
    return await world.browser(ip=f"198.51.100.{uuid.uuid4().int % 250}").post(SIGN_IN, json=body)


async def test_the_first_sign_in_sets_a_password_of_ones_own(world: World) -> None:
    """Issue 2: the printed one works once, with a code, to set another."""
    address, made = await make(world)
    code = pyotp.TOTP(made.totp_secret).now()
    first = await sign_in(world, address, made.password, code)
    assert (first.status_code, first.json()["code"]) == (409, "must_change_password")
    same = await sign_in(world, address, made.password, code, made.password)
    assert same.json()["code"] == "must_change_password"
    done = await sign_in(world, address.upper(), made.password, code, OWN)
    assert done.status_code == 201, done.text
    assert (await sign_in(world, address, made.password, _next(made))).status_code == 401
    assert (await sign_in(world, address, OWN, _next(made))).status_code == 201


async def test_each_code_works_once_also_of_two_at_the_same_time(world: World) -> None:
    address, made = await make(world)
    code = pyotp.TOTP(made.totp_secret).now()
    answers = await asyncio.gather(*(sign_in(world, address, made.password, code, OWN) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401, 401]
    assert (await sign_in(world, address, OWN, code)).status_code == 401
    answers = await asyncio.gather(*(sign_in(world, address, OWN, _next(made)) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401, 401]


@pytest.mark.parametrize("wrong", ["password", "totp", "address"])
async def test_one_wrong_thing_is_refused_without_saying_which(world: World, wrong: str) -> None:
    address, made = await make(world)
    given = {"address": address, "password": made.password, "totp": pyotp.TOTP(made.totp_secret).now()}
    given[wrong] = {"password": "not the password", "totp": "000000", "address": "nobody@example.org"}[wrong]
    answer = await sign_in(world, given["address"], given["password"], given["totp"], OWN)
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_refused")


async def test_an_operators_token_is_renewed_by_the_session_and_ends_with_it(world: World) -> None:
    address, made = await make(world)
    answer = (await sign_in(world, address, made.password, pyotp.TOTP(made.totp_secret).now(), OWN)).json()
    browser = world.browser()
    more = await browser.post("/identity/v1/operator/token", json={"session": answer["session"]})
    assert more.status_code == 200
    token = {"Authorization": f"Bearer {more.json()['access_token']}"}
    assert (await browser.get("/identity/v1/me", headers=token)).status_code == 401
    assert (await browser.delete(f"{SIGN_IN}/current", headers=token)).status_code == 204
    again = await browser.post("/identity/v1/operator/token", json={"session": answer["session"]})
    assert again.status_code == 401
    assert any(row.subject.startswith("revoked.session.") for row in await world.told(PLATFORM))


async def test_a_members_token_is_no_operators(world: World) -> None:
    _, browser = await world.joined(await world.tenant())
    token = {"Authorization": f"Bearer {(await world.token(browser)).json()['access_token']}"}
    assert (await browser.delete(f"{SIGN_IN}/current", headers=token)).status_code == 401


async def test_an_address_is_one_operator(world: World) -> None:
    address, _ = await make(world)
    with pytest.raises(OperatorKnown):
        await create_operator(world.doors, f" {address.upper()} ")


async def test_the_command_prints_what_the_first_sign_in_needs(world: World, settings: Settings) -> None:
    """`control-centre operators create ADDRESS`"""
    address = f"ops-{uuid.uuid4().hex}@example.org"
    environ = {field.upper(): str(getattr(settings, field)) for field in settings.__struct_fields__}
    run = await asyncio.to_thread(CliRunner().invoke, commands, ["create", address], env=environ)
    assert run.exit_code == 0, run.output
    said = dict(line.split()[:2] for line in run.output.splitlines())
    answer = await sign_in(world, address, said["password"], pyotp.TOTP(said["totp"]).now(), OWN)
    assert answer.status_code == 201


def _next(made: NewOperator) -> str:
    """The code of the next half minute, which the clock's tolerance lets in."""
    return pyotp.TOTP(made.totp_secret).at(time.time() + 30)
