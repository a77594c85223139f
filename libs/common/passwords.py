"""Passwords: Argon2id in a small thread pool, the same work for people who do not exist, and a policy without rules of
composition: 12 to 256 characters, any of them, taken verbatim, only not what everybody tries first.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import argon2
import msgspec
from argon2.exceptions import InvalidHashError, VerificationError

from libs.common.common_passwords import COMMON, RUNS
from libs.common.errors import Unavailable, Unprocessable

SHORTEST, LONGEST = 12, 256


class PasswordRefused(Unprocessable):
    """With reason: too_short, too_long, common, or about_you (made of the tenant's or the person's own words)."""

    title = "Choose another password"


class PasswordCosts(msgspec.Struct, frozen=True):
    """OWASP's first choice for Argon2id; the tests' settings make it cheap."""

    time_cost: int = 2
    memory_kib: int = 19 * 1024
    threads: int = 4
    """Hashes at once: so many times the memory, and never the event loop."""
    waiting: int = 64
    """More than these wait at most; the rest is told to come back (503)."""


class Passwords:
    """One per process. Everything takes tens of milliseconds, outside the event loop."""

    def __init__(self, costs: PasswordCosts = PasswordCosts()) -> None:  # noqa: B008 it is frozen
        self._hasher = argon2.PasswordHasher(
            time_cost=costs.time_cost, memory_cost=costs.memory_kib, parallelism=1, hash_len=32, salt_len=16
        )
        self._pool = ThreadPoolExecutor(costs.threads, thread_name_prefix="passwords")
        self._room = costs.threads + costs.waiting
        self._dummy = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """In PHC form, salt and costs included. Raises PasswordRefused for what verify would never take."""
        if not _encodable(password):
            raise PasswordRefused(reason="too_long")
        return await self._run(self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """None for somebody who is not there: the same work, and False."""
        right = await self._run(self._matches, stored or self._dummy, password if _encodable(password) else "")
        return right and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """The costs have changed since: hash again now that the password is at hand."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run[*Args, Out](self, work: Callable[[*Args], Out], *args: *Args) -> Out:
        if self._room <= 0:
            raise Unavailable(retry_after=2)
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        finally:
            self._room += 1


def check_password(password: str, *, about: Iterable[str] = ()) -> None:
    """about: the tenant's name and slug, the person's name, login name and address. Raises PasswordRefused."""
    if len(password) < SHORTEST:
        raise PasswordRefused(reason="too_short", shortest=SHORTEST)
    if not _encodable(password):
        raise PasswordRefused(reason="too_long", longest=LONGEST)
    if is_common(password):
        raise PasswordRefused(reason="common")
    if _is_made_of(password, about):
        raise PasswordRefused(reason="about_you")


def is_common(password: str) -> bool:
    """Among what is tried first: a well-known word or two with the usual decoration, a run of keys, a repetition."""
    text = password.casefold()
    if len(set(text)) < 5 or _is_repeated(text) or _is_run(text):
        return True
    return any(_is_common_word(_letters(form)) for form in (text, text.translate(_LEET), _undecorated(text)))


_LEET = str.maketrans({"@": "a", "4": "a", "3": "e", "1": "i", "!": "i", "0": "o", "$": "s", "5": "s", "7": "t"})


def _undecorated(text: str) -> str:
    """Without the number or the signs in front and behind: Passw0rd!2024 is a password."""
    return text.strip("0123456789!?.,;:*+-_#@$%&/()= ").translate(_LEET)


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalpha())


def _is_common_word(letters: str) -> bool:
    return letters in COMMON or any(letters[:cut] in COMMON and letters[cut:] in COMMON for cut in range(len(letters)))


def _is_repeated(text: str) -> bool:
    return text in (text + text)[1:-1]


def _is_run(text: str) -> bool:
    """Neighbouring keys, forwards or backwards, or several such runs of four and more."""
    left = len(text)
    at = 0
    while at < len(text):
        length = next((n for n in range(min(len(text) - at, 40), 3, -1) if text[at : at + n] in RUNS), 0)
        left -= length
        at += length or 1
    return left <= 3


def _is_made_of(password: str, words: Iterable[str]) -> bool:
    """Less than eight characters are left without these words and without digits and signs."""
    text = password.casefold()
    parts = {part for word in words for part in re.split(r"[\W_]+", word.casefold()) if len(part) >= 4}
    whole = {_letters(word.casefold()) for word in words}
    found = False
    for part in sorted(parts | {word for word in whole if len(word) >= 4}, key=len, reverse=True):
        found = found or part in text
        text = text.replace(part, " ")
    return found and len(_letters(text)) < 8


def _encodable(password: str) -> bool:
    return len(password) <= LONGEST and not any("\ud800" <= character <= "\udfff" for character in password)
