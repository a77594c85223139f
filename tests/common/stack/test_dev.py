"""`make run`: one command until `ready`; it ends with whoever started it, or with the first process that dies."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.common.stack.conftest import wait_until_gone
from tests.parts import folder, free_port

pytestmark = [pytest.mark.xdist_group("dev"), pytest.mark.timeout(300)]

Run = Callable[..., "Dev"]


class Dev:
    def __init__(self, state: Path, *, in_a_shell: bool, **environ: str) -> None:
        self.state = state
        command = [sys.executable, "-m", "libs.common.cli", "dev", "--no-demo", "--state", str(state)]
        if in_a_shell:
            command = ["/bin/sh", "-c", '"$@"; true', "sh", *command]
        kept = {name: value for name, value in os.environ.items() if name != "PORT"}
        self.process = subprocess.Popen(
            command, env=kept | environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said = ""

    def wait_until_ready(self) -> dict[str, Any]:
        for line in self.process.stdout or ():
            self.said += line
            if line == "ready\n":
                found: dict[str, Any] = json.loads((self.state / "stack.json").read_text())
                return found
        raise AssertionError(self.said)

    def wait_until_over(self) -> int:
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        return self.process.wait()

    def pids(self) -> dict[str, int]:
        return {path.stem: json.loads(path.read_text())["pid"] for path in (self.state / "run").glob("*.json")}


@pytest.fixture
def run() -> Iterator[Run]:
    started: list[Dev] = []

    def start(state: Path, *, in_a_shell: bool = False, **environ: str) -> Dev:
        started.append(Dev(state, in_a_shell=in_a_shell, **environ))
        return started[-1]

    with folder() as place:
        yield lambda **options: start(place / "stack", **options)
        for dev in started:
            dev.process.terminate()
            dev.process.wait()
            if dev.process.stdout is not None:
                dev.process.stdout.close()
            wait_until_gone([*dev.pids().values()])


def test_one_command_starts_everything_and_a_death_ends_it(run: Run) -> None:
    port = free_port()
    dev = run(PORT=str(port))
    stack = dev.wait_until_ready()
    assert list(stack) == ["gateway", "mail", "smtp", "nats", "postgres", "s3", "operator", "demo"]
    assert stack["gateway"] == f"http://localhost:{port}"
    assert set(stack["postgres"]) == {"identity", "members", "documents", "notifier"}
    assert set(stack["s3"]) == {"endpoint", "key", "secret", "bucket"}
    assert (dev.state / "stack.json").stat().st_mode & 0o077 == 0
    for service in stack["postgres"]:
        assert httpx.get(f"{stack['gateway']}/{service}/openapi.json").json()["openapi"].startswith("3.1")
    assert httpx.get(f"{stack['gateway']}/docs").status_code == 200
    assert httpx.get(stack["mail"]).status_code == 200

    second = run(PORT=str(port))
    assert second.wait_until_over() == 1
    assert "another one" in second.said

    pids = dev.pids()
    assert set(pids) == {*stack["postgres"], "postgres", "nats", "s3", "mail", "gateway"}
    os.kill(pids["members"], signal.SIGKILL)
    assert dev.wait_until_over() == 1
    assert "members: it ended by itself (SIGKILL)" in dev.said
    wait_until_gone([*pids.values()])


def test_it_ends_when_whoever_started_it_is_killed(run: Run) -> None:
    dev = run(in_a_shell=True, PORT=str(free_port()))
    dev.wait_until_ready()
    pids = dev.pids()
    dev.process.kill()
    wait_until_gone([*pids.values()], within=30)


def test_a_taken_port_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        dev = run(PORT=str(port))
        assert dev.wait_until_over() == 1
    assert f"gateway: port {port} (from PORT) is in use by another program" in dev.said
    assert "PORT=8090 make run" in dev.said


def test_containers_without_docker_are_explained(run: Run) -> None:
    dev = run(STACK="containers", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert dev.wait_until_over() == 1
    assert "containers: Docker does not do what it should" in dev.said
    assert "unset STACK" in dev.said
