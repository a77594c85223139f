"""What a row of the table found, and the page that shows them."""

import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


class Figure(msgspec.Struct, kw_only=True):
    """One row. bare: what ours is held against. found: the ratio in words. details: lines below the table."""

    what: str
    target: str
    found: str
    bare: str
    details: list[str] = []
    command: str = ""
    measured: str = ""


def spread(ratios: Sequence[float], *, factor: bool = False) -> str:
    """The median of several pairs, and the middle half of them; in percent, or as a factor."""
    form = ".2f" if factor else ".0%"
    if len(ratios) < 3:
        return format(statistics.median(ratios), form)
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> str:
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {load:.1f} before"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


_HEAD = """# Figures

Written by `make bench`; do not edit. Everything runs on one machine and every figure is a ratio of two things that were
measured in turn in the same run, so that what else the machine does weighs on both. Where several pairs were measured
the median stands first, and the middle half of them in brackets. The local PostgreSQL runs without `fsync`, so that the
disk does not hide what we cost. "Bare" is the fastest straightforward program that does the same work for the user.
Nothing here fails a build.

| what | target | found |
|---|---|---|
"""


_IMPORT = (
    "| 50,000-row import committed, against COPY into the same tables; events drained; memory |"
    " ≤ 10 times; ≥ 300/s; +100 MiB | not measured: there is no import yet |\n"
)


def write(figures: Sequence[Figure], notes: str) -> None:
    lines = [f"| {one.what} | {one.target} | {one.found} |\n" for one in figures] + [_IMPORT]
    text = _HEAD + "".join(lines)
    for one in figures:
        text += f"\n## {one.what[0].upper()}{one.what[1:]}\n\nBare: {one.bare}\n"
        if one.details:
            text += "\n" + "".join(f"- {line}\n" for line in one.details)
        if one.command:
            text += f"\n`{one.command}`, {one.measured}\n"
    PAGE.write_text(text + ("\n" + notes.strip() + "\n" if notes.strip() else ""))
