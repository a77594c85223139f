"""The parts work, survive what tests do to them, and say what is wrong when they cannot start."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import httpx
import msgspec
import nats
import nats.errors
import pytest
from botocore.exceptions import ClientError

from libs.common.stack.errors import PartFailed
from libs.common.stack.gateway import Gateway
from libs.common.stack.parts import Addresses, Parts
from libs.common.stack.s3 import S3Address
from libs.common.stack.state import State, is_free
from tests.parts import folder

pytestmark = pytest.mark.xdist_group("stack-parts")


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    with folder() as place, Parts.start(place, environ={}) as started:
        yield started


@pytest.mark.parametrize("how", ["restart", "kill", "freeze"])
async def test_postgresql_keeps_what_was_committed(parts: Parts, how: str) -> None:
    url = parts.addresses.postgres
    connection = await asyncpg.connect(url)
    assert (await connection.fetchval("SHOW server_version")).startswith("18.")
    await connection.execute(f"CREATE TABLE kept_{how} (id int); INSERT INTO kept_{how} VALUES (7)")  # noqa: S608
    if how == "kill":
        parts.kill("postgres")
        with pytest.raises(OSError, match="onnect"):
            await asyncpg.connect(url)
    if how == "freeze":
        parts.freeze("postgres")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.fetchval("SELECT 1"), 0.2)
        parts.thaw("postgres")
    else:
        parts.restart("postgres")
    connection.terminate()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval(f"SELECT id FROM kept_{how}") == 7  # noqa: S608
    await connection.close()


async def test_nats_knows_its_users_and_what_they_may_do(parts: Parts) -> None:
    refused: list[Exception] = []

    async def note(error: Exception) -> None:
        refused.append(error)

    members = await nats.connect(parts.addresses.nats["members"], error_cb=note, inbox_prefix=b"_INBOX_members")
    await members.publish("hint.members", b"")
    await members.flush()
    assert not refused
    await members.publish("revoked.session.x", b"")
    await members.flush()
    await _until(lambda: bool(refused))
    assert "permissions violation" in str(refused[0])
    await members.close()
    stranger = parts.addresses.nats["members"].replace(":", ":wrong", 2)
    with pytest.raises(nats.errors.Error):
        await nats.connect(stranger, allow_reconnect=False, max_reconnect_attempts=1, error_cb=note)


async def test_nats_keeps_its_streams_when_killed(parts: Parts) -> None:
    platform = await nats.connect(parts.addresses.nats["platform"], inbox_prefix=b"_INBOX_platform")
    await platform.jetstream().add_stream(name="KEPT", subjects=["kept"])
    await platform.close()
    parts.kill("nats")
    parts.restart("nats")
    platform = await nats.connect(parts.addresses.nats["platform"], inbox_prefix=b"_INBOX_platform")
    assert (await platform.jetstream().stream_info("KEPT")).config.name == "KEPT"
    await platform.close()


def test_s3_checks_signatures_and_keeps_the_bucket(parts: Parts) -> None:
    address = parts.addresses.s3
    client = _s3(address, address.secret)
    client.put_object(Bucket=address.bucket, Key="a/b", Body=b"c")
    parts.kill("s3")
    parts.restart("s3")
    assert client.get_object(Bucket=address.bucket, Key="a/b")["Body"].read() == b"c"
    client.delete_object(Bucket=address.bucket, Key="a/b")
    client.put_object(Bucket=address.bucket, Key="b", Body=b"c")
    client.delete_object(Bucket=address.bucket, Key="b")
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == [address.bucket]
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        _s3(address, "wrong").list_buckets()


def test_secrets_are_not_on_command_lines_nor_readable_by_others(parts: Parts) -> None:
    secrets = (parts.state.folder / "secrets.json").read_text()
    assert parts.addresses.s3.secret in secrets
    for part in parts.parts:
        for word in ("s3.secret", "postgres", "nats.platform"):
            assert parts.state.secret(word) not in Path(f"/proc/{part.pid}/cmdline").read_text()
    for file in ("secrets.json", "nats/nats.conf"):
        assert (parts.state.folder / file).stat().st_mode & 0o077 == 0


def test_a_part_given_by_address_is_not_started(parts: Parts, tmp_dir: Path) -> None:
    given = {
        "POSTGRES_URL": parts.addresses.postgres,
        "NATS_URL": f"nats://{parts.addresses.nats['platform'].rpartition('@')[2]}",
        "SMTP_URL": parts.addresses.smtp,
    }
    with Parts.start(tmp_dir, environ=given) as others:
        assert [part.name for part in others.parts] == ["s3"]
        assert (others.addresses.postgres, others.addresses.smtp) == (given["POSTGRES_URL"], given["SMTP_URL"])
        own = others.addresses.nats["members"]
        assert own.startswith("nats://members:")
        assert own.endswith(given["NATS_URL"].removeprefix("nats://"))


def test_one_user_given_with_the_address_of_nats_is_used_by_all(tmp_dir: Path, parts: Parts) -> None:
    url = parts.addresses.nats["platform"]
    given = {"POSTGRES_URL": parts.addresses.postgres, "NATS_URL": url, "SMTP_URL": parts.addresses.smtp}
    with Parts.start(tmp_dir, environ=given) as others:
        assert set(others.addresses.nats.values()) == {url}


@pytest.mark.parametrize("variable", ["POSTGRES_URL", "NATS_URL", "SMTP_URL", "S3_ENDPOINT"])
def test_a_given_address_where_nobody_answers_is_named(tmp_dir: Path, variable: str) -> None:
    scheme = {"POSTGRES_URL": "postgresql", "NATS_URL": "nats", "SMTP_URL": "smtp"}.get(variable, "http")
    with (
        pytest.raises(PartFailed, match=rf"nobody answers at 127\.0\.0\.1:1, which {variable} names"),
        Parts.start(tmp_dir, environ={variable: f"{scheme}://127.0.0.1:1"}),
    ):
        pass


def test_a_part_that_does_not_start_says_which_and_why(parts: Parts, tmp_dir: Path) -> None:
    broken = parts["nats"]
    parts.kill("nats")
    try:
        with socket.create_server(("127.0.0.1", int(parts.addresses.nats["platform"].rpartition(":")[2]))):
            with pytest.raises(PartFailed) as failure:
                broken.start()
            assert "nats: it ended at its start" in str(failure.value)
            assert "address already in use" in failure.value.last_words()
    finally:
        broken.start()


def test_a_process_that_died_by_itself_is_named(parts: Parts) -> None:
    parts.require_alive()
    os.kill(parts.pid("s3"), signal.SIGKILL)
    end = time.monotonic() + 5
    with pytest.raises(PartFailed, match="s3: it ended by itself"):
        while time.monotonic() < end:
            parts.require_alive()
    parts.restart("s3")
    parts.require_alive()


def test_ports_are_remembered_and_change_when_they_are_taken(tmp_dir: Path) -> None:
    first = State(tmp_dir).port("nats")
    assert State(tmp_dir).port("nats") == first
    with socket.create_server(("127.0.0.1", first)):
        assert not is_free(first)
        second = State(tmp_dir).port("nats")
        assert second != first
    assert State(tmp_dir).port("nats") == second


def test_the_gateways_port_is_the_first_choice_or_free_or_as_told(tmp_dir: Path) -> None:
    wanted = State(tmp_dir / "any").port("x")
    services = {"identity": 1}
    with socket.create_server(("127.0.0.1", wanted)):
        with pytest.raises(PartFailed, match=f"port {wanted} .from PORT. is in use by another program"):
            Gateway(State(tmp_dir / "a"), services, wanted)
        assert Gateway(State(tmp_dir / "a"), services, None, wanted).port != wanted
    assert Gateway(State(tmp_dir / "b"), services, wanted).port == wanted
    assert Gateway(State(tmp_dir / "c"), services, None, wanted).port == wanted


async def test_the_page_of_the_catcher_answers(parts: Parts) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(parts.addresses.mail)).status_code == 200


def test_addresses_survive_the_way_to_another_process(parts: Parts) -> None:
    assert msgspec.json.decode(msgspec.json.encode(parts.addresses), type=Addresses) == parts.addresses


def _s3(address: S3Address, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=address.endpoint,
        region_name=address.region,
        aws_access_key_id=address.key,
        aws_secret_access_key=secret,
    )


async def _until(condition: Callable[[], bool], within: float = 5) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110, it happens in another process
            await asyncio.sleep(0.01)
