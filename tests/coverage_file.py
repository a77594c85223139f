"""docs/coverage.toml accounts for every requirement: run by `make check`, and by a test.

An entry has `tests` (node ids that exist), `primitive`, `not_ours` or `later`; `tests` and `later` may stand together.
"""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
COUNTS = {"A": 62, "B": 48, "C": 87, "D": 34, "E": 19, "T": 17, "R": 30}
_WORDS = {"primitive", "not_ours", "later"}


def expected() -> set[str]:
    return {f"{letter}-{number:02}" for letter, count in COUNTS.items() for number in range(1, count + 1)}


def faults(text: str) -> list[str]:
    """What is wrong with the file, one sentence each; none when it is complete."""
    entries = tomllib.loads(text)
    found = [f"{missing} has no entry" for missing in sorted(expected() - entries.keys())]
    found += [f"{unknown} is no requirement" for unknown in sorted(entries.keys() - expected())]
    for requirement, entry in entries.items():
        keys = set(entry)
        if (
            not keys
            or keys - _WORDS - {"tests"}
            or len(keys & _WORDS) > 1
            or keys & {"primitive", "not_ours"} == _WORDS
        ):
            found.append(f"{requirement}: wants tests, primitive, not_ours or later, not {sorted(keys)}")
        if not all(isinstance(entry[word], str) and entry[word].strip() for word in keys & _WORDS):
            found.append(f"{requirement}: say it in a sentence")
        found += [f"{requirement}: no such test: {test}" for test in entry.get("tests", []) if not _exists(test)]
    return found


def _exists(node: str) -> bool:
    path, _, name = node.partition("::")
    file = ROOT / path
    name = re.sub(r"\[.*", "", name.split("::")[-1])
    if not file.is_file() or not name:
        return False
    tree = ast.walk(ast.parse(file.read_text()))
    return any(name in _names(part) for part in tree)


def _names(part: ast.AST) -> list[str]:
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [part.name]
    return [ast.unparse(target) for target in part.targets] if isinstance(part, ast.Assign) else []


def main() -> None:
    text = (ROOT / "docs" / "coverage.toml").read_text()
    found = faults(text)
    entries = tomllib.loads(text).values()
    proven = sum("tests" in entry for entry in entries)
    owed = sum("later" in entry for entry in entries)
    print(f"{len(expected())} requirements, {proven} with tests, {owed} with something owed")
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
