"""Every word that mails and the mail log show, per language (T-15). A key that one language lacks fails a test."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

LOCALES: Final = ("de", "en")
SYSTEM_LOCALE: Final = "en"


@cache
def words(locale: str) -> Mapping[str, str]:
    """`words("de")["state.sent"]`; keys are `<section>.<key>`."""
    content = tomllib.loads(Path(__file__).with_name(f"{locale}.toml").read_text(encoding="utf-8"))
    return {f"{section}.{key}": text for section, keys in content.items() for key, text in keys.items()}


def supported(*wanted: str | None) -> str:
    """The first that there are words for: `de-AT` counts as `de`. Falls back to the system's language (R-27)."""
    for locale in wanted:
        if locale and (language := locale.replace("_", "-").partition("-")[0].lower()) in LOCALES:
            return language
    return SYSTEM_LOCALE
