"""Which mail a state still gets: rows *security mail* and *other mail* of the status matrix, as data (T-07, C-72).

A tenant may override a cell, but not those of the anonymised and the erased: nobody writes to them.
"""

from collections.abc import Mapping
from typing import Final, Literal

from services.notifier.templates.catalog import Category, Group

Column = Literal[
    "added", "invited", "active", "locked", "inactive", "revoked", "marked_deleted", "anonymised", "erased"
]
Cell = Literal["all", "invitation", "removal", "deletion", "none"]
"""Everything of the category, or one group of it, or nothing."""

MATRIX: Final[Mapping[Category, Mapping[Column, Cell]]] = {
    "security": {
        "added": "none",
        "invited": "invitation",
        "active": "all",
        "locked": "all",
        "inactive": "all",
        "revoked": "removal",
        "marked_deleted": "deletion",
        "anonymised": "none",
        "erased": "none",
    },
    "transactional": {
        "added": "none",
        "invited": "none",
        "active": "all",
        "locked": "none",
        "inactive": "none",
        "revoked": "none",
        "marked_deleted": "none",
        "anonymised": "none",
        "erased": "none",
    },
}
FIXED: Final[frozenset[Column]] = frozenset({"anonymised", "erased"})

type Overrides = Mapping[str, Mapping[str, str]]


def cell(overrides: Overrides, category: Category, column: Column) -> str:
    if column in FIXED:
        return MATRIX[category][column]
    return overrides.get(category, {}).get(column) or MATRIX[category][column]


def may_get(overrides: Overrides, column: Column, category: Category, group: Group) -> bool:
    return cell(overrides, category, column) in ("all", group)
