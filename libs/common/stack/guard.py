"""Ends the processes of a stack whose owner has died, kill -9 included, on every Unix.

    guard.py FOLDER

Standard input is a pipe that the owner holds: its end means that the owner is gone. The folder has a file per running
process. While it works the guard holds the stack's lock (an inherited descriptor), so the next start waits for it.
Also what that takes: `born` tells whether a process id still means the same process, `family` names its descendants.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_PATIENCE = 5.0  # seconds for an orderly end, then kill -9


def born(pid: int) -> str:
    """When the process was started, '' if there is none: the same number twice is not the same process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        after_name = stat.rpartition(")")[2].split()
        return "" if after_name[0] == "Z" else after_name[19]
    except (FileNotFoundError, ProcessLookupError):
        if sys.platform == "linux":
            return ""
    command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def family(pid: int) -> list[int]:
    """The process and all its descendants, those included that made sessions of their own, as PostgreSQL's do."""
    found = [pid]
    parents = _parents()
    for parent in found:
        found.extend(child for child, its_parent in parents.items() if its_parent == parent)
    return found


def signal_family(pid: int, number: int) -> None:
    for member in family(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, number)


def end_all(folder: Path) -> None:
    """End every process that has a file in `folder`: in order if it can, by force, with its family, if it must."""
    alive = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    end = time.monotonic() + _PATIENCE
    for process in alive:
        if born(process["pid"]) == process["born"]:
            signal_family(process["pid"], signal.SIGCONT)
            os.kill(process["pid"], process["signal"])
    while alive := [process for process in alive if born(process["pid"]) == process["born"]]:
        if time.monotonic() > end:
            for process in alive:
                signal_family(process["pid"], signal.SIGKILL)
        time.sleep(0.02)
    for path in folder.glob("*.json"):
        path.unlink()


def _parents() -> dict[int, int]:
    """The parent of each process on this machine."""
    if sys.platform == "linux":
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        return found
    listing = subprocess.run(["/bin/ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(pid): int(parent) for pid, parent in map(str.split, listing.splitlines())}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_all(Path(sys.argv[1]))
