"""The doctor tries what the environment names, says what is wrong, and shows no password."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from libs.common import keys
from libs.common.cli import main
from libs.common.stack.parts import Parts
from tests.parts import folder

pytestmark = pytest.mark.xdist_group("doctor")


@pytest.fixture(scope="module")
def well() -> Iterator[dict[str, str]]:
    with folder() as place, Parts.start(place / "stack", environ={}) as parts:
        keys.ensure_keys(place / "keys")
        s3 = parts.addresses.s3
        yield {
            "POSTGRES_URL": parts.addresses.postgres,
            "NATS_URL": parts.addresses.nats["platform"],
            "S3_ENDPOINT": s3.endpoint,
            "S3_KEY": s3.key,
            "S3_SECRET": s3.secret,
            "S3_BUCKET": s3.bucket,
            "SMTP_URL": parts.addresses.smtp,
            "PUBLIC_URL": parts.addresses.mail,
            "KEYS_DIR": str(place / "keys"),
        }


def test_says_that_all_is_well_and_shows_no_password(well: dict[str, str]) -> None:
    done = CliRunner(env=well).invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    assert done.output.count("✓") == 6
    assert well["S3_SECRET"] not in done.output
    assert "postgres:" not in done.output.replace("postgresql://", "")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("POSTGRES_URL", "postgresql://postgres:x@127.0.0.1:1/x", "Is PostgreSQL running there?"),
        ("NATS_URL", "nats://127.0.0.1:1", "No connection to NATS at 127.0.0.1:1"),
        ("S3_BUCKET", "other", "bucket other: there is no such bucket: make it"),
        ("S3_SECRET", "other", "the key or the secret is wrong"),
        ("S3_SECRET", "", "S3_SECRET not set"),
        ("S3_ENDPOINT", "http://127.0.0.1:1", "Is an S3 server running there?"),
        ("SMTP_URL", "smtp://127.0.0.1:1", "Is a mail relay running there"),
        ("PUBLIC_URL", "http://127.0.0.1:1", "Is it running there?"),
        ("KEYS_DIR", "/nowhere", "There is no key for 'token'"),
        ("DATABASE_URL", "POSTGRES_URL", "superuser"),
    ],
)
def test_says_what_is_wrong(well: dict[str, str], variable: str, value: str, said: str) -> None:
    done = CliRunner(env={**well, variable: well.get(value, value)}).invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert said in done.output
    assert done.output.count("✗") == 1


def test_asks_for_an_address_where_there_is_none(
    well: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_dir: Path
) -> None:
    monkeypatch.chdir(tmp_dir)
    done = CliRunner(env=dict.fromkeys(well, "")).invoke(main, ["doctor"])
    assert done.exit_code == 2
    assert "No address is set" in done.output
