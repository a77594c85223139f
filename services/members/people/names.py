"""How names compare, sort and are found: folded forms, stored beside what was typed."""

import re
import unicodedata
from collections.abc import Iterable

_LONGEST, _MOST = 60, 40


def login_key(name: str) -> str:
    """Unique in a tenant: `Bob` and `bob` are one login name, `Müller` and `Muller` are two."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())


def sort_key(name: str) -> str:
    """Without case and accents, as the eye looks for it in a list: Öztürk stands under O."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    return " ".join(plain.split())


def words(text: str) -> list[str]:
    """What a search looks for; every word must be found as the beginning of a token."""
    found = (word for part in sort_key(text).split() for word in ([part] if "@" in part else re.findall(r"\w+", part)))
    return list(dict.fromkeys(word[:_LONGEST] for word in found))[:6]


def tokens(texts: Iterable[str | None]) -> set[str]:
    """What the texts are found by: their words, and addresses and login names as a whole."""
    found: dict[str, None] = {}
    for text in texts:
        key = sort_key(text or "")
        whole = [key] if key and " " not in key else []
        found |= dict.fromkeys(word[:_LONGEST] for word in (*whole, *re.findall(r"\w+", key)))
    return set(list(found)[:_MOST])
