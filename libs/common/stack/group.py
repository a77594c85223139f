"""Parts that run together and end together."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from libs.common.stack import guard
from libs.common.stack.errors import PartFailed
from libs.common.stack.part import Part
from libs.common.stack.state import State


class Group:
    """Holds the folder and the guard; ends everything when left as a context.

    The verbs of tests (kill, freeze, thaw, restart) take a part's name and block until it is done: in an async test
    call them with asyncio.to_thread where others must go on meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self._stages: list[list[Part]] = []
        lock = self.state.hold()
        command = [sys.executable, "-I", "-S", guard.__file__, str(self.state.part("run"))]
        self._guard = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, pass_fds=[lock], start_new_session=True, cwd="/"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def __getitem__(self, name: str) -> Part:
        found = next((part for stage in self._stages for part in stage if part.name == name), None)
        if found is None:
            raise PartFailed(name, "it is not one of this stack's processes", "A part given by address is not ours.")
        return found

    @property
    def parts(self) -> list[Part]:
        return [part for stage in self._stages for part in stage]

    def pid(self, name: str) -> int:
        return self[name].pid

    def kill(self, name: str) -> None:
        self[name].kill()

    def freeze(self, name: str) -> None:
        self[name].freeze()

    def thaw(self, name: str) -> None:
        self[name].thaw()

    def stop(self, name: str) -> None:
        self[name].stop()

    def restart(self, name: str, **environ: str) -> None:
        """After a kill, too. Same address, same state. environ: for this life of the process (FAILPOINT=…)."""
        self[name].extra = environ
        self[name].restart()

    def bring_up(self, *parts: Part) -> None:
        """Start these at the same time. Raises the first PartFailed once all have settled."""
        self._stages.append(list(parts))
        _at_once([part.start for part in parts])

    def require_alive(self) -> None:
        """Raises PartFailed for the first part that has ended by itself."""
        for part in self.parts:
            if part.has_died():
                raise part.fail(f"it ended by itself ({part.how_it_ended()})")

    def end(self) -> None:
        """End all parts, those last that were started first."""
        for stage in reversed(self._stages):
            _at_once([part.stop for part in stage])
        self._stages.clear()
        self.state.release()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()


def _at_once(calls: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(max(len(calls), 1)) as pool:
        running = [pool.submit(call) for call in calls]
    for one in running:
        one.result()
