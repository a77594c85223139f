import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import extract_parameters

from libs.common.common_passwords import COMMON
from libs.common.errors import Unavailable
from libs.common.passwords import PasswordCosts, PasswordRefused, Passwords, check_password, is_common
from tests.common.waiting import until

CHEAP = PasswordCosts(time_cost=1, memory_kib=8)
GOOD = "correct horse battery"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(CHEAP)
    yield made
    made.close()


async def test_a_password_is_verified_verbatim(passwords: Passwords) -> None:
    for password in (GOOD, " x" * 10, "пароль-länger-密码🙂", "e\u0301" * 6, "\x00" * 12, "x" * 256):
        stored = await passwords.hash(password)
        assert stored.startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert password not in stored
        assert await passwords.verify(stored, password)
        for other in (password + " ", password[:-1], password.upper() + "!", "é" * 6):
            assert not await passwords.verify(stored, other)


async def test_two_hashes_of_one_password_differ(passwords: Passwords) -> None:
    assert await passwords.hash(GOOD) != await passwords.hash(GOOD)


async def test_what_is_stored_damaged_or_too_long_is_a_wrong_password(passwords: Passwords) -> None:
    for stored in ("", "x", "$argon2id$", "$2b$12$abc"):
        assert not await passwords.verify(stored, GOOD)
    stored = await passwords.hash(GOOD)
    for password in ("", "x" * 1_000_000, "\ud800" * 12):
        assert not await passwords.verify(stored, password)
    with pytest.raises(PasswordRefused):
        await passwords.hash("x" * 257)


async def test_an_unknown_person_costs_the_same_work(passwords: Passwords) -> None:
    checked: list[str] = []
    matches = passwords._matches

    def counting(stored: str, password: str) -> bool:
        checked.append(stored)
        return matches(stored, password)

    passwords._matches = counting  # type: ignore[method-assign]
    stored = await passwords.hash(GOOD)
    assert not await passwords.verify(stored, "wrong password!")
    assert not await passwords.verify(None, "wrong password!")
    known, unknown = checked
    assert extract_parameters(known) == extract_parameters(unknown)
    assert not await passwords.verify(None, "nobody has this password")  # it opens nothing either


async def test_costs_that_were_raised_show(passwords: Passwords) -> None:
    stored = await passwords.hash(GOOD)
    assert not passwords.needs_rehash(stored)
    dearer = Passwords(PasswordCosts(time_cost=2, memory_kib=8))
    assert dearer.needs_rehash(stored)
    assert await dearer.verify(stored, GOOD)
    dearer.close()


async def test_a_flood_takes_four_threads_and_no_more_and_is_told_to_come_back() -> None:
    passwords = Passwords(PasswordCosts(time_cost=1, memory_kib=8, threads=4, waiting=6))
    at_once, most, lock, gate = 0, 0, threading.Lock(), threading.Event()

    def slow(stored: str, password: str) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        gate.wait(10)
        with lock:
            at_once -= 1
        return True

    passwords._matches = slow  # type: ignore[method-assign]
    running = [asyncio.create_task(passwords.verify("x", GOOD)) for _ in range(10)]
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await passwords.verify("x", GOOD)
    await until(lambda: at_once == 4)
    gate.set()
    assert all(await asyncio.gather(*running))
    assert most == 4
    assert await passwords.verify("x", GOOD)
    passwords.close()


@pytest.mark.parametrize(
    "password",
    [
        GOOD, "q8$Lm2vX!w0z", "Tr0ub4dor&3xxyz", "mein hund ist braun", "       a b c d e", "пароль-секрет-да",
        "密码很长很长但是安全的啊哈", "x7" * 3 + "Kp!0vW" * 2, "a1b2-c3d4-e5f6-g7h8", "jazz-otter-lamp",
        "2718-2818-2845-9045", "🙂🎈🌊🔥🌵🎲🧩🪐🦊🍉🚲🎻",
    ],
)  # fmt: skip
def test_any_composition_is_welcome(password: str) -> None:
    check_password(password, about=["Acme GmbH", "acme", "bob@example.org"])


@pytest.mark.parametrize(
    "password",
    [
        "password1234", "Password123!", "Passw0rd!2024", "p@$$w0rd@123", "passwordpassword", "qwertyuiop123",
        "qwertzuiop12", "1q2w3e4r5t6y", "1qaz2wsx3edc", "qazwsxedcrfv", "123456789012", "1234567890123456",
        "210987654321", "000000000000", "abcdefghijkl", "zyxwvutsrqpo", "abc123abc123", "121212121212",
        "iloveyou1234", "ILoveYou!!!!", "letmein12345", "welcome12345", "Welcome2024!", "administrator",
        "Administrator1", "adminadmin12", "changeme1234", "monkey123456", "dragon123456", "football1234",
        "baseball2024", "sunshine2023", "princess1234", "superman1234", "batman123456", "trustno1trustno1",
        "starwars1977", "whatever1234", "Sommer2024!!!", "Herbst2025!!", "Winter-2026!", "Passwort1234",
        "hallo1234567", "HalloHallo12", "schatz123456", "ichliebedich1", "geheim123456", "Willkommen12",
        "deutschland1", "Berlin2024!!", "sonnenschein", "schmetterling", "asdfghjkl123", "aaaaaaaaaaaab",
        "!@#$%^&*()!@", "zQ9!kzQ9!kzQ9!k", "@dministrator", "qwertzuiop[]",
    ],
)  # fmt: skip
def test_what_everybody_tries_first_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefused) as caught:
        check_password(password)
    assert caught.value.params["reason"] == "common"


def test_the_collection_stands_for_more_than_the_three_thousand_that_asvs_asks_for() -> None:
    long_enough = [f"{a}{b}" for a in sorted(COMMON) for b in sorted(COMMON) if len(a) + len(b) >= 12][:5000]
    assert len(long_enough) == 5000
    assert all(is_common(password) for password in long_enough)


@pytest.mark.parametrize(
    "password",
    [
        "acme-acme-acme", "Acme123456789", "beratungsstelle1", "Beratungsstelle-Nord", "BeratungsstelleNord!",
        "bob.builder2024", "bobbuilder12!", "Builder-Example-1",
    ],
)  # fmt: skip
def test_words_of_the_tenant_and_the_person_are_refused(password: str) -> None:
    check = ["Beratungsstelle Nord", "acme", "bob.builder@example.org"]
    with pytest.raises(PasswordRefused) as caught:
        check_password(password, about=check)
    assert caught.value.params["reason"] in ("about_you", "common")


def test_a_tenants_word_inside_a_long_password_is_fine() -> None:
    check_password("acme kennt meine katze nicht", about=["acme"])
    check_password("Nordlichter über Tromsø", about=["Beratungsstelle Nord", "", "  "])


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "too_short"), ("elevenchars", "too_short"), ("x7!qPz" * 43, "too_long"),
        ("x7!qPz" * 100_000, "too_long"), ("abcdefgh\ud800ijklm", "too_long"),
    ],
)  # fmt: skip
def test_length_has_two_ends(password: str, reason: str) -> None:
    with pytest.raises(PasswordRefused) as caught:
        check_password(password)
    assert caught.value.params["reason"] == reason
