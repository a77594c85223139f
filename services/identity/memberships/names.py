"""How login names compare: as in members, which sees to it that no two members of a tenant share one."""

import unicodedata


def login_key(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())
