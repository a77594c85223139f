"""T-15: one catalogue of what is shown, complete in both languages, one string for one concept."""

import re
import string
import uuid
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from libs.common.events.notifier import MailState
from libs.common.events.subjects import SERVICES
from services.notifier.direct_messages.rules import Way
from services.notifier.messages.states import EDGES
from services.notifier.strings import LOCALES, supported, words
from services.notifier.templates.catalog import KINDS
from tests.notifier.conftest import As

SOURCES = Path(__file__).parents[2] / "services/notifier"


def test_no_language_lacks_a_key() -> None:
    keys = {locale: set(words(locale)) for locale in LOCALES}
    assert keys["de"] == keys["en"]


@pytest.mark.parametrize("locale", LOCALES)
def test_everything_that_has_a_code_has_a_word(locale: str) -> None:
    known = words(locale)
    wanted = [f"state.{state}" for state in get_args(MailState)]
    wanted += [f"template.{name}" for name in KINDS]
    wanted += [f"way.{way}" for way in get_args(Way.__value__ if hasattr(Way, "__value__") else Way)]
    wanted += [f"service.{name}" for name in SERVICES]
    wanted += [f"reason.{reason}" for reason in _reasons()]
    assert [key for key in wanted if key not in known] == []


def _reasons() -> set[str]:
    """Every reason that the code gives for a state."""
    found: set[str] = set()
    for path in SOURCES.rglob("*.py"):
        found |= set(re.findall(r'reason="([a-z_]+)"', path.read_text()))
        found |= set(re.findall(r'Stop\("[a-z]+", "([a-z_]+)"', path.read_text()))
    return found


def test_the_code_names_reasons() -> None:
    assert {"replaced", "maybe_twice", "gave_up", "bad_address", "state_forbids"} <= _reasons()


@pytest.mark.parametrize("locale", LOCALES)
def test_one_concept_has_one_name(locale: str) -> None:
    """Two keys of a section that say the same would be two codes for one thing."""
    for section in ("state", "reason", "template"):
        said = Counter(text for key, text in words(locale).items() if key.startswith(f"{section}."))
        assert [text for text, count in said.items() if count > 1] == []


def test_both_languages_fill_in_the_same_values() -> None:
    def fields(text: str) -> set[str | None]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field}

    assert {key: fields(text) for key, text in words("de").items()} == {
        key: fields(text) for key, text in words("en").items()
    }


def test_sent_says_what_it_means() -> None:
    """T-14, D-30, D-32: accepted by the next server, no more."""
    assert "angenommen" in words("de")["state.sent"]
    assert "accepted" in words("en")["state.sent"]
    assert set(get_args(MailState)) == set(EDGES)


@pytest.mark.parametrize(
    ("wanted", "found"), [(("de-CH",), "de"), (("fr", "de"), "de"), (("", None), "en"), (("DE_at",), "de")]
)
def test_a_language_is_found_by_its_first_part(wanted: tuple[str | None, ...], found: str) -> None:
    assert supported(*wanted) == found


@pytest.mark.parametrize(("who", "status"), [(None, 401), ("member", 200), ("admin", 200)])
async def test_words_are_for_everybody_who_has_signed_in(as_: As, who: str | None, status: int) -> None:
    answer = await as_(who, uuid.uuid4()).get("/notifier/v1/words/de")
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == dict(words("de"))
        assert (await as_(who, uuid.uuid4()).get("/notifier/v1/words/fr")).status_code in (400, 404)
