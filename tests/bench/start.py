"""`make run` from nothing until it says ready: no state, packages installed, no demo."""

import signal
import statistics
import subprocess
import time

from libs.common.stack.part import bare_environ, spawn
from libs.common.stack.service import CONTROL_CENTRE
from tests import parts
from tests.bench.figures import Figure
from tests.bench.ground import ROOT, Ground

TIMES = 3


def measure(ground: Ground) -> Figure:
    first: list[float] = []
    again: list[float] = []
    for _ in range(TIMES):
        with parts.folder() as folder:
            for found in (first, again):
                found.append(_start(str(folder / "stack")))
                ground.say(f"{found[-1]:.1f} s")
    return Figure(
        what="`make run`, packages cached, without seeding",
        target="≤ 20 s, stretch 10 s",
        found=f"{statistics.median(first):.1f} s",
        bare="nothing: from the start of the process until it prints `ready`, with an empty folder: cluster, databases,"
        " migrations, streams, four services, gateway.",
        details=[
            f"from nothing: {', '.join(f'{one:.1f} s' for one in first)}; with the state of an earlier start:"
            f" {', '.join(f'{one:.1f} s' for one in again)}"
        ],
    )


def _start(folder: str) -> float:
    environ = {**bare_environ(), "PORT": str(parts.free_port()), "PYTHONUNBUFFERED": "1"}
    command = [*CONTROL_CENTRE, "dev", "--no-demo", "--state", folder]
    started = time.perf_counter()
    with spawn(
        command, ending=signal.SIGTERM, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None
            said = b""
            for line in process.stdout:
                said += line
                if line.strip() == b"ready":
                    return time.perf_counter() - started
            raise RuntimeError(said.decode())
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
