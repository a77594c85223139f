"""python -m tests.bench [ROW …] [--full]: measures, prints, and writes docs/benchmarks.md.

Rows that are not asked for keep what was found before (tests/bench/found.json).
"""

import argparse
import importlib
import logging
import shlex
import signal
import sys
import time
from pathlib import Path

import msgspec
import structlog
from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, machine, now, write
from tests.bench.ground import Ground, Sizes

ROWS = ("list_page", "invite", "depth", "mails", "files", "revocation", "start")
_HERE = Path(__file__).parent
_FOUND = _HERE / "found.json"
_NOTES = _HERE / "notes.md"


def main() -> int:
    said = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, and its folder removed
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    found = _found_before()
    given = {name: getattr(said, name) or 0 for name in ("members", "mails", "mebibytes", "files", "revocations")}
    sizes = Sizes(full=said.full, seconds=said.seconds, pairs=said.pairs, given=given)
    command = shlex.join(["python", "-m", "tests.bench", *sys.argv[1:]])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    failed = False
    with Ground(sizes, console) as ground:
        for name in said.rows or ROWS:
            console.print(f"[bold]{name}[/]")
            started, where = time.monotonic(), machine()
            try:
                figure = importlib.import_module(f"tests.bench.{name}").measure(ground)
            except Exception:
                console.print_exception()
                failed = True
                continue
            figure.command, figure.measured = command, f"{now()}, {where}"
            found = {**found, **_found_before(), name: figure}  # another run may have written meanwhile
            console.print(f"  {figure.found}  [dim]{time.monotonic() - started:.0f} s[/]")
            if not said.dry:
                _FOUND.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
                write([found[row] for row in ROWS if row in found], _NOTES.read_text() if _NOTES.exists() else "")
        console.print("Ending …")
    table = Table("what", "target", "found")
    for row in ROWS:
        if row in found:
            table.add_row(found[row].what, found[row].target, found[row].found)
    console.print(table)
    return int(failed)


def _found_before() -> dict[str, Figure]:
    return msgspec.json.decode(_FOUND.read_bytes(), type=dict[str, Figure]) if _FOUND.exists() else {}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--full", action="store_true", help="a million members, 10,000 mails, 5 GiB; some 20 minutes")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--pairs", type=int, help="of measurements in turn")
    for name in ("members", "mails", "mebibytes", "files", "revocations"):
        parser.add_argument(f"--{name}", type=int)
    said = parser.parse_args()
    if unknown := set(said.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    return said


if __name__ == "__main__":
    sys.exit(main())
