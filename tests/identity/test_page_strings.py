"""What the pages say: in both languages, every error explained, nothing that is not used."""

import re
from pathlib import Path

from libs.common.errors import AppError
from services.identity.pages import strings


def test_every_string_is_there_in_both_languages_and_says_one_thing() -> None:
    """T-15: no key without a text, no text for two concepts, the same values in both."""
    for number, _ in enumerate(strings.LANGUAGES):
        texts = [pair[number] for key, pair in strings.STRINGS.items() if key != "product"]
        assert all(text.strip() for text in texts)
        assert len(texts) == len(set(texts))
    for key, (german, english) in strings.STRINGS.items():
        assert set(re.findall(r"{(\w+)}", german)) == set(re.findall(r"{(\w+)}", english)), key


def test_every_string_is_used() -> None:
    folder = Path(strings.__file__).parent
    used = "".join(
        path.read_text() for path in [*folder.glob("*.py"), *folder.glob("templates/*")] if path.name != "strings.py"
    )
    for key in strings.STRINGS:
        assert key.startswith("error.") or f'"{key}"' in used, key


PAGES_MEET = ("web", "sessions", "invitations", "persons", "passwords", "throttling", "pages")


DETAILS = {
    **dict.fromkeys(("access_barred", "access_blocked"), ("locked", "deactivated", "outside_dates", "marked_deleted")),
    "password_refused": ("too_short", "too_long", "common", "about_you"),
}


def test_every_error_that_a_page_can_meet_is_explained() -> None:
    """R-06: the true cause, in words; none falls back to *incomplete*."""
    ours = [one for one in _errors(AppError) if one.__module__.startswith("services.identity.")]
    met = [one.code() for one in ours if one.__module__.split(".")[2] in PAGES_MEET]
    assert len(met) > 20
    for code in (*met, "password_refused", "link_unreadable", "link_not_valid", "not_found", "unauthenticated"):
        details = DETAILS.get(code)
        for key in [f"error.{code}.{detail}" for detail in details] if details else [f"error.{code}"]:
            assert key in strings.STRINGS, key


def _errors(base: type[AppError]) -> list[type[AppError]]:
    return [one for sub in base.__subclasses__() for one in (sub, *_errors(sub))]
