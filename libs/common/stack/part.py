"""What all parts have in common: a process that is started, awaited, watched, ended, and in tests killed or frozen."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from libs.common.stack import guard
from libs.common.stack.errors import PartFailed
from libs.common.stack.state import State

_LAUNCH = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]

# The kernel ends a process "with its parent" when the thread ends that forked it. This one lives as long as we do.
_spawner = ThreadPoolExecutor(1, "spawner")


class Part(ABC):
    """One process. Subclasses say what to run and when it is ready; state is in `state.part(name)`."""

    name: str
    ending: signal.Signals = signal.SIGTERM  # asks for an orderly end
    patience: float = 60  # seconds until it must be ready; one that dies is noticed at once
    asked_every: float = 0.02  # seconds between two looks at that
    remedy: str = "Its log says more. `make clean` forgets the state of the local stack."

    def __init__(self, state: State) -> None:
        self.state = state
        self.extra: Mapping[str, str] = {}
        """More environment, for tests."""
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False  # stop() may come, from another thread, while start() is still at work

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def is_ready(self) -> bool: ...

    def prepare(self) -> None:  # noqa: B027, most need nothing
        """Whatever must be there before the process starts; called at every start."""

    def environ(self) -> Mapping[str, str]:
        """The whole environment of the process."""
        return bare_environ()

    @property
    def user(self) -> str:
        """The system user to run as; empty: ours."""
        return ""

    @property
    def pid(self) -> int:
        if self._process is None:
            raise PartFailed(self.name, "it is not running", "Start it first.")
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.state.log(self.name)

    def start(self) -> None:
        """Start and wait until ready. Raises PartFailed."""
        self._wanted = True
        self._end_leftover()
        self.prepare()
        self._require_wanted()
        self._process = self._spawn()
        note = {"pid": self._process.pid, "born": guard.born(self._process.pid), "signal": int(self.ending)}
        self.state.pid_file(self.name).write_text(json.dumps(note))
        self._wait_until_ready()

    def stop(self) -> None:
        """End in order; by force after ten seconds. Nothing happens if it is not running."""
        self._wanted = False
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(self.ending)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._signal_family(signal.SIGKILL)
        self._gone()

    def kill(self) -> None:
        """kill -9, children included, as the machine's end would."""
        self._signal_family(signal.SIGKILL)
        self._gone()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal_family(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_family(signal.SIGCONT)

    def restart(self) -> None:
        """At the same address, with the same state."""
        self.stop()
        self.start()

    def has_died(self) -> bool:
        """Whether it ended by itself; never true for one that we ended."""
        return self._process is not None and self._process.poll() is not None

    def how_it_ended(self) -> str:
        code = self._process.poll() if self._process else None
        if code is None:
            return "not by itself"
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def fail(self, why: str) -> PartFailed:
        return PartFailed(self.name, why, self.remedy, self.log)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return spawn(
                self.command(),
                user=self.user,
                ending=self.ending,
                env={**self.environ(), **self.extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.state.folder,
                start_new_session=True,  # Ctrl-C reaches the owner only, who ends the parts in order
            )

    def _end_leftover(self) -> None:
        """A process of an earlier stack, where the owner and the guard were killed together."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            note = json.loads(self.state.pid_file(self.name).read_text())
            if note["born"] and guard.born(note["pid"]) == note["born"]:
                guard.signal_family(note["pid"], signal.SIGKILL)
                while guard.born(note["pid"]) == note["born"]:
                    time.sleep(0.01)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + self.patience
        while not self.is_ready():
            self._require_wanted()
            if self.has_died():
                how = self.how_it_ended()
                self._gone()
                raise self.fail(f"it ended at its start ({how})")
            if time.monotonic() > end:
                self.kill()
                raise self.fail(f"it was not ready after {self.patience:.0f} s")
            time.sleep(self.asked_every)

    def _require_wanted(self) -> None:
        if not self._wanted:
            raise self.fail("it was stopped while it started")

    def _signal_family(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            guard.signal_family(self._process.pid, number)

    def _gone(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
        self.state.pid_file(self.name).unlink(missing_ok=True)


def spawn(
    command: Sequence[str], *, user: str = "", ending: signal.Signals = signal.SIGTERM, **options: Any
) -> subprocess.Popen[bytes]:
    """A process that ends when this one does, run as `user` if one is named. options: as of subprocess.Popen."""
    launch = [*_LAUNCH, user, str(int(ending)), str(os.getpid()), *command]
    return _spawner.submit(lambda: subprocess.Popen(launch, **options)).result()  # noqa: S603


def run(command: Sequence[str], *, input: bytes = b"", **options: Any) -> tuple[int, bytes]:
    """Run to the end, as spawn() does. Its exit code and what it printed, errors included."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
    with spawn(command, **options) as process:
        printed, _ = process.communicate(input)
    return process.returncode, printed


def bare_environ() -> dict[str, str]:
    """What every process needs of ours; settings of the machine's owner (PG*, RCLONE_*, proxies) stay outside."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_START")
    return {name: os.environ[name] for name in kept if name in os.environ}


def http_status(url: str, timeout: float = 1) -> int | None:
    """The status that a GET is answered with, None where nobody answers."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port or 80, timeout=timeout)
    try:
        connection.request("GET", address.path or "/")
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
