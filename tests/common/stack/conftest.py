import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libs.common.stack import guard
from libs.common.stack.group import Group
from libs.common.stack.mail import Mail

_OWNER = """
import sys, time
from pathlib import Path
from libs.common.stack.parts import Parts
with Parts.start(Path(sys.argv[1]), environ={}) as parts:
    print("up", flush=True)
    time.sleep(600)
"""


class Owner:
    """A process that has started the four parts and holds them until somebody ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-c", _OWNER, str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)

    def wait_until_up(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n"

    def pids(self) -> dict[str, int]:
        return {path.stem: json.loads(path.read_text())["pid"] for path in (self.folder / "run").glob("*.json")}

    def guard(self) -> int:
        return next(
            pid for pid in guard.family(self.process.pid) if guard.__file__ in Path(f"/proc/{pid}/cmdline").read_text()
        )

    def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait()


@pytest.fixture
def owner(tmp_dir: Path) -> Iterator[Callable[[], Owner]]:
    """owner(): starts one, in the same folder each time."""
    started: list[Owner] = []

    def start() -> Owner:
        started.append(Owner(tmp_dir / "stack"))
        return started[-1]

    yield start
    for one in started:
        one.end()
        if one.process.stdout is not None:
            one.process.stdout.close()
    with Group(tmp_dir / "stack"):  # returns when the guard has let go, so that the folder can be removed
        pass


def wait_until_gone(pids: list[int], within: float = 30) -> None:
    end = time.monotonic() + within
    while alive := [pid for pid in pids if guard.born(pid)]:
        assert time.monotonic() < end, f"still there: {[Path(f'/proc/{pid}/cmdline').read_text() for pid in alive]}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mail]:
    with Group(tmp_path_factory.mktemp("mail")) as group:
        part = Mail(group.state)
        group.bring_up(part)
        yield part
