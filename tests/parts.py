"""The parts that all tests of a run share: started once by the controller, found by workers in the environment.

TEST_POSTGRES_URL (administrator), TEST_NATS_URLS (JSON, by user), TEST_S3 (JSON), TEST_SMTP_URL, TEST_MAIL_URL (the
catcher's page), TEST_KEYS_DIR.
"""

import contextlib
import json
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from libs.common import keys
from libs.common.stack.parts import Parts

_running = contextlib.ExitStack()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """For a stack. Not in pytest's own, which every other run closes to all but us: PostgreSQL gives up root's rights
    and still has to reach its files.
    """
    with tempfile.TemporaryDirectory(prefix="control-centre-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def start() -> None:
    directory = _running.enter_context(folder())
    parts = _running.enter_context(Parts.start(directory / "parts", durable=False))
    where = parts.addresses
    keys.ensure_keys(directory / "keys")
    os.environ |= {
        "TEST_POSTGRES_URL": where.postgres,
        "TEST_NATS_URLS": json.dumps(dict(where.nats)),
        "TEST_S3": msgspec.json.encode(where.s3).decode(),
        "TEST_SMTP_URL": where.smtp,
        "TEST_MAIL_URL": where.mail,
        "TEST_KEYS_DIR": str(directory / "keys"),
    }


def stop() -> None:
    _running.close()


def free_port() -> int:
    """One that nobody listens on; below the range from which the kernel takes ports for outgoing connections."""
    while True:
        port = random.randrange(12_000, 20_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
