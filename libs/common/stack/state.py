"""The folder in which a stack keeps everything: ports, secrets, logs, process ids, and a folder per part.

One stack at a time holds a folder. Ports are remembered, so that addresses stay the same from start to start, and
chosen anew where somebody else has taken them meanwhile; so two checkouts run side by side.
"""

import contextlib
import fcntl
import json
import os
import random
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any

from libs.common.stack.errors import PartFailed

HOST = "127.0.0.1"

# Below the range from which the kernel takes ports for outgoing connections: nobody takes ours while a part is down.
_PORTS = range(20_000, 32_000)


class State:
    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = None
        self._files = threading.Lock()  # parts start at the same time

    def part(self, name: str) -> Path:
        """The folder of one part; only its process writes there."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        return self.part("logs") / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        return self.part("run") / f"{name}.json"

    def port(self, name: str, first_choice: int = 0) -> int:
        """The port that `name` had last time, or the first choice, or another free one."""
        with self._files:
            ports: dict[str, int] = self._read("ports.json")
            if name not in ports or not is_free(ports[name]):
                taken = set(ports.values())
                choices = [first_choice, *_shuffled()] if first_choice else _shuffled()
                ports[name] = next(port for port in choices if port not in taken and is_free(port))
                self._write("ports.json", ports)
            return ports[name]

    def secret(self, name: str) -> str:
        """A random word that stays the same as long as the folder lives. Fit for addresses and configuration files."""
        with self._files:
            known: dict[str, str] = self._read("secrets.json")
            if name not in known:
                known[name] = secrets.token_hex(16)
                self._write("secrets.json", known)
            return known[name]

    def hold(self) -> int:
        """Take the folder for this process, and give the descriptor that holds it, for the guard to inherit.

        A stack that was killed holds it until its guard has ended every process: that is waited for.
        Raises PartFailed if another stack keeps running.
        """
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        since = time.monotonic()
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _int(os.pread(self._lock, 20, 0))
                if time.monotonic() - since > (3 if _is_alive(holder) else 15):
                    self.release()
                    why = f"another one (process {holder}) uses {self.folder}"
                    raise PartFailed("stack", why, "Use that one, or end it with Ctrl-C, and start again.") from None
                time.sleep(0.05)
            else:
                os.truncate(self._lock, 0)
                os.pwrite(self._lock, str(os.getpid()).encode(), 0)
                return self._lock

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / name).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _write(self, name: str, content: object) -> None:
        write_private(self.folder / name, json.dumps(content, indent=2))


def write_private(path: Path, text: str) -> None:
    """Write whole or not at all, readable by the owner only."""
    new = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def is_free(port: int) -> bool:
    """Whether a server of ours could listen there now, and would be the one that `localhost` means."""
    return _could_bind(socket.AF_INET, HOST, port) and (not has_ipv6() or _could_bind(socket.AF_INET6, "::1", port))


def has_ipv6() -> bool:
    return socket.has_ipv6 and _could_bind(socket.AF_INET6, "::1", 0)


def _could_bind(family: int, host: str, port: int) -> bool:
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _shuffled() -> list[int]:
    return random.sample(_PORTS, len(_PORTS))  # no secret: only unlikely to meet another stack's choice


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def _int(text: bytes) -> int:
    return int(text) if text.isdigit() else 0
