import base64
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from click.testing import CliRunner

from libs.common import cli_keys, keys
from libs.common.keys import PURPOSES, TOKEN, KeyProblem, KeyRing, SecretBox, ensure_keys, kids, rotate


def _put(directory: Path, purpose: str, kid: str, content: bytes | None = None) -> None:
    path = directory / purpose / kid
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64encode(os.urandom(32)) if content is None else content)


def _kid(age: timedelta) -> str:
    return (datetime.now(UTC) - age).strftime("%Y%m%d-%H%M%S-000")


def _see_changes(ring: KeyRing) -> None:
    ring._looked -= 2  # a second is over


def test_every_purpose_gets_one_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    ensure_keys(tmp_path)
    ensure_keys(tmp_path)
    for purpose in PURPOSES:
        (kid,) = kids(tmp_path, purpose)
        assert stat.S_IMODE((tmp_path / purpose / kid).stat().st_mode) == 0o600
        assert KeyRing(tmp_path, purpose).newest()[0] == kid


def test_processes_that_start_together_make_one_key(tmp_path: Path) -> None:
    def start(directory: Path) -> None:
        together.wait()
        ensure_keys(directory, [TOKEN])

    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            together = Barrier(8)
            list(pool.map(start, [tmp_path / str(number)] * 8))
            assert len(kids(tmp_path / str(number), TOKEN)) == 1


def test_no_key_no_start_and_the_message_says_where_and_how(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match=rf"{tmp_path}/token/<kid>.*keys rotate token"):
        KeyRing(tmp_path, TOKEN)


@pytest.mark.parametrize(
    ("purpose", "content"),
    [
        (TOKEN, b""),
        (TOKEN, b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n"),
        ("cursor", b"not base64!"),
        ("cursor", base64.b64encode(b"short")),
        ("cursor", b""),
    ],
)
def test_a_key_that_cannot_be_read_stops_the_start(tmp_path: Path, purpose: str, content: bytes) -> None:
    _put(tmp_path, purpose, "a", content)
    with pytest.raises(KeyProblem, match=f"{tmp_path}/{purpose}/a"):
        KeyRing(tmp_path, purpose)


def test_a_key_of_another_kind_is_not_taken_for_tokens(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    _put(tmp_path, TOKEN, "a", pem)
    with pytest.raises(KeyProblem, match="not an Ed25519"):
        KeyRing(tmp_path, TOKEN)


def test_a_new_key_verifies_within_a_second_and_signs_after_ten_minutes(tmp_path: Path) -> None:
    old = _kid(timedelta(days=90))
    _put(tmp_path, "cursor", old)
    now = [time.time()]
    ring = KeyRing(tmp_path, "cursor", clock=lambda: now[0])
    new = rotate(tmp_path, "cursor")
    _see_changes(ring)
    assert ring.get(new) is not None
    assert ring.get(old) is not None
    assert ring.newest()[0] == old
    now[0] += 599
    assert ring.newest()[0] == old
    now[0] += 2
    assert ring.newest()[0] == new


def test_the_newest_is_told_by_name_not_by_the_files_date(tmp_path: Path) -> None:
    old, new = _kid(timedelta(days=2)), _kid(timedelta(days=1))
    _put(tmp_path, "cursor", new)
    _put(tmp_path, "cursor", old)
    assert KeyRing(tmp_path, "cursor").newest()[0] == new


def test_a_deleted_key_is_forgotten_and_the_one_left_signs_at_once(tmp_path: Path) -> None:
    old = _kid(timedelta(days=90))
    _put(tmp_path, "cursor", old)
    ring = KeyRing(tmp_path, "cursor")
    new = rotate(tmp_path, "cursor")
    (tmp_path / "cursor" / old).unlink()
    _see_changes(ring)
    assert ring.get(old) is None
    assert ring.newest()[0] == new


def test_changes_in_the_same_instant_are_not_missed(tmp_path: Path) -> None:
    """The directory's time does not move for a change within one tick of the file system's clock."""
    _put(tmp_path, "cursor", "a")
    stamp = (tmp_path / "cursor").stat().st_mtime_ns
    ring = KeyRing(tmp_path, "cursor")
    _put(tmp_path, "cursor", "b")
    os.utime(tmp_path / "cursor", ns=(stamp, stamp))
    _see_changes(ring)
    assert ring.get("b") is not None


def test_a_mishap_while_running_keeps_the_keys_that_were_there(tmp_path: Path) -> None:
    _put(tmp_path, "cursor", "a")
    ring = KeyRing(tmp_path, "cursor")
    _put(tmp_path, "cursor", "b", b"broken")
    _see_changes(ring)
    assert ring.newest()[0] == "a"
    (tmp_path / "cursor" / "a").unlink()
    (tmp_path / "cursor" / "b").unlink()
    (tmp_path / "cursor").rmdir()
    _see_changes(ring)
    assert ring.get("a") is not None


def test_drafts_and_what_kubernetes_puts_beside_mounted_keys_are_no_keys(tmp_path: Path) -> None:
    real = tmp_path / "cursor" / "..2026_11_21"
    real.mkdir(parents=True)
    (real / "a").write_bytes(base64.b64encode(bytes(32)) + b"\n")
    (tmp_path / "cursor" / "..data").symlink_to(real)
    (tmp_path / "cursor" / "a").symlink_to(Path("..data") / "a")
    (tmp_path / "cursor" / ".draft").write_bytes(b"half")
    assert list(KeyRing(tmp_path, "cursor")) == [("a", bytes(32))]


def test_a_rotation_under_a_clock_gone_wrong_is_refused(tmp_path: Path) -> None:
    _put(tmp_path, "cursor", "29991231-000000-000")
    with pytest.raises(KeyProblem, match="clock"):
        rotate(tmp_path, "cursor")
    with pytest.raises(KeyProblem, match="not a purpose"):
        rotate(tmp_path, "../etc")


def _box(directory: Path) -> SecretBox:
    return SecretBox(KeyRing(directory, keys.SECRETS))


def test_a_sealed_secret_opens_in_its_place_only(tmp_path: Path) -> None:
    ensure_keys(tmp_path, [keys.SECRETS])
    box = _box(tmp_path)
    sealed = box.seal(b"s3cret", "acme/smtp/1")
    assert b"s3cret" not in sealed
    assert sealed != box.seal(b"s3cret", "acme/smtp/1")
    assert box.open(sealed, "acme/smtp/1") == b"s3cret"
    with pytest.raises(KeyProblem, match="moved"):
        box.open(sealed, "globex/smtp/1")


def test_a_sealed_secret_survives_rotation_but_not_a_flipped_bit(tmp_path: Path) -> None:
    _put(tmp_path, keys.SECRETS, _kid(timedelta(days=2)))
    sealed = _box(tmp_path).seal(b"s3cret", "here")
    _put(tmp_path, keys.SECRETS, _kid(timedelta(days=1)))
    box = _box(tmp_path)
    assert box.seal(b"", "here")[2:21] != sealed[2:21]
    assert box.open(sealed, "here") == b"s3cret"
    for at in range(len(sealed)):
        broken = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(KeyProblem):
            box.open(broken, "here")
        with pytest.raises(KeyProblem):
            box.open(sealed[:at], "here")


def test_commands_rotate_and_list_without_showing_a_key(tmp_path: Path) -> None:
    run = CliRunner().invoke
    made = run(cli_keys.commands, ["rotate", "cursor", "--directory", str(tmp_path)])
    assert made.exit_code == 0
    (kid,) = kids(tmp_path, "cursor")
    assert made.output == f"cursor {kid}\n"
    listed = run(cli_keys.commands, ["list"], env={"KEYS_DIR": str(tmp_path)})
    assert f"cursor: {kid}\n" in listed.output
    assert "token: none\n" in listed.output
    assert (tmp_path / "cursor" / kid).read_text().strip() not in made.output + listed.output
    nowhere = run(cli_keys.commands, ["list"], env={"KEYS_DIR": ""})
    assert nowhere.exit_code == 2
    assert "KEYS_DIR" in nowhere.output
