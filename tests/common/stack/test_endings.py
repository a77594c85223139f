"""Every process ends with its owner, however that ends; the next start goes on from what is there."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from libs.common.stack.errors import PartFailed
from libs.common.stack.part import spawn
from libs.common.stack.parts import Parts
from tests.common.stack.conftest import Owner, wait_until_gone

Start = Callable[[], Owner]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_every_process_ends_when_the_owner_does(owner: Start, number: signal.Signals) -> None:
    one = owner()
    one.wait_until_up()
    pids = one.pids()
    assert set(pids) == {"postgres", "nats", "s3", "mail"}
    guard = one.guard()
    one.end(number)
    wait_until_gone([*pids.values(), guard])


def test_a_frozen_process_ends_too_when_the_owner_is_killed(owner: Start) -> None:
    one = owner()
    one.wait_until_up()
    pids = one.pids()
    os.kill(pids["nats"], signal.SIGSTOP)
    one.end()
    wait_until_gone([*pids.values()])
    assert "Server Exiting" in (one.folder / "logs" / "nats.log").read_text()  # in order, not by force


def test_every_process_ends_when_the_guard_is_killed_with_the_owner(owner: Start) -> None:
    one = owner()
    one.wait_until_up()
    pids = one.pids()
    os.kill(one.guard(), signal.SIGKILL)
    one.end()
    wait_until_gone([*pids.values()])


def test_every_process_ends_when_the_owner_is_killed_while_it_starts_them(owner: Start) -> None:
    one = owner()
    while not (pids := one.pids()):
        pass
    one.end()
    wait_until_gone([*pids.values(), *one.pids().values()])


async def test_the_next_start_finds_what_was_written_when_the_owner_was_killed(owner: Start) -> None:
    one = owner()
    one.wait_until_up()
    with pytest.raises(PartFailed, match="another one"), Parts.start(one.folder, environ={}):
        pass
    one.end()
    with Parts.start(one.folder, environ={}) as parts:
        connection = await asyncpg.connect(parts.addresses.postgres)
        await connection.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)")
        await connection.close()
        first = parts.addresses
        parts.kill("postgres")
    with Parts.start(one.folder, environ={}) as parts:
        assert parts.addresses == first
        connection = await asyncpg.connect(parts.addresses.postgres)
        assert await connection.fetchval("SELECT id FROM kept") == 1
        await connection.close()


def test_a_reused_process_id_does_not_stop_postgresql(tmp_dir: Path) -> None:
    with Parts.start(tmp_dir, environ={}) as parts, spawn(["/bin/sleep", "60"], user=parts["postgres"].user) as other:
        file = tmp_dir / "postgres" / "data" / "postmaster.pid"
        lines = file.read_text().splitlines()
        parts.kill("postgres")
        file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        parts.restart("postgres")
        assert parts.pid("postgres") == int(file.read_text().split()[0])
        other.kill()


async def test_a_busy_connection_does_not_outlive_a_killed_postgresql_nor_stop_the_next(tmp_dir: Path) -> None:
    with Parts.start(tmp_dir, environ={}) as parts:
        connection = await asyncpg.connect(parts.addresses.postgres)
        busy = await connection.fetchval("SELECT pg_backend_pid()")
        query = asyncio.create_task(connection.execute("SELECT count(*) FROM generate_series(1, 10_000_000_000)"))
        while "SELECT" not in Path(f"/proc/{busy}/cmdline").read_text():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
        os.kill(parts.pid("postgres"), signal.SIGKILL)  # the server alone
        await asyncio.to_thread(parts.restart, "postgres")
        wait_until_gone([busy])
        with pytest.raises(asyncpg.PostgresConnectionError):
            await query
        connection.terminate()
