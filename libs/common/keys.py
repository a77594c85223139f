"""Secret keys as files, KEYS_DIR/<purpose>/<kid>: the newest signs, all verify, changes are seen within a second.

A kid begins with its time, so that the newest is the one that sorts last whatever the files' dates say. A new key waits
ten minutes before it signs, unless it is the only one: by then every process that verifies has it too. A key that has
leaked is deleted: what it signed is refused (tokens: once the key set is fetched again, within three minutes), and the
key that is left signs at once. No key, no start.
"""

import base64
import binascii
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "token"  # noqa: S105
SECRETS = "secrets"
PURPOSES = (
    TOKEN,
    SECRETS,
    "link-invitation",
    "link-password-reset",
    "link-verify-address",
    "link-object",
    "link-unsubscribe",
    "bounce",
    "cursor",
)
"""token is an Ed25519 key (PEM, PKCS 8); every other is 32 random bytes in base64, so that editors do no harm."""

_KID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_PURPOSE = re.compile(r"[a-z][a-z-]{0,39}")
_WAIT = timedelta(minutes=10)
_LOOK_AGAIN = 1.0  # seconds between two looks at the directory
_log = structlog.get_logger()


class KeyProblem(Exception):
    """A key is missing or unreadable; the message says where it was expected and the way out."""


class KeyRing:
    """The keys of one purpose. Raises KeyProblem when made without any; a later mishap keeps the keys it has."""

    def __init__(
        self, directory: Path, purpose: str, *, wait: timedelta = _WAIT, clock: Callable[[], float] = time.time
    ) -> None:
        self.purpose = purpose
        self._path, self._wait, self._clock = directory / purpose, wait, clock
        self._stamp: int | None = None
        self._looked = time.monotonic()
        self._keys: Mapping[str, bytes] = {}
        self._load()

    def newest(self) -> tuple[str, bytes]:
        """The kid and the key that signs or encrypts now."""
        keys = self._current()
        now = self._clock()
        settled = [kid for kid in keys if (made := _made(kid)) is None or made + self._wait.total_seconds() <= now]
        kid = max(settled or [min(keys)])
        return kid, keys[kid]

    def get(self, kid: str) -> bytes | None:
        """None for a kid that is not, or no longer, here."""
        return self._current().get(kid)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(sorted(self._current().items()))

    def _current(self) -> Mapping[str, bytes]:
        now = time.monotonic()
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            try:
                if self._stamp is None or self._path.stat().st_mtime_ns != self._stamp:
                    self._load()
            except (KeyProblem, OSError) as problem:
                _log.error("keys_not_reloaded", purpose=self.purpose, reason=str(problem))
        return self._keys

    def _load(self) -> None:
        stamp = self._path.stat().st_mtime_ns if self._path.is_dir() else 0
        self._keys = _read(self._path, self.purpose)
        # A change in the same tick of the file system's clock would not move the stamp: look again while it is fresh.
        self._stamp = stamp if time.time_ns() - stamp > 2_000_000_000 else None


class SecretBox:
    """Third parties' secrets at rest (SMTP passwords, client secrets): AES-256-GCM under the newest key of a ring.

    `place` binds a sealed value to where it stands (tenant, table, row), so that it cannot be moved elsewhere.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def seal(self, secret: bytes, place: str) -> bytes:
        """version ‖ length of kid ‖ kid ‖ nonce (12) ‖ ciphertext and tag."""
        kid, key = self._ring.newest()
        head = bytes([1, len(kid)]) + kid.encode()
        nonce = secrets.token_bytes(12)
        return head + nonce + AESGCM(key).encrypt(nonce, secret, head + place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Raises KeyProblem: for the operator, never a user's mistake."""
        length = sealed[1] if len(sealed) > 1 and sealed[0] == 1 else 0
        head, nonce, rest = sealed[: 2 + length], sealed[2 + length : 14 + length], sealed[14 + length :]
        key = self._ring.get(head[2:].decode("ascii", "replace")) if length else None
        if key is None:
            raise KeyProblem(f"A stored secret was sealed with a key that is not in {self._ring.purpose!r} any more.")
        try:
            return AESGCM(key).decrypt(nonce, rest, head + place.encode())
        except (InvalidTag, ValueError) as error:
            raise KeyProblem(f"A stored secret of {place!r} was changed or moved.") from error


def ensure_keys(directory: Path, purposes: Iterable[str] = PURPOSES) -> None:
    """Make the first key of each purpose that has none. Two processes at once make one."""
    for purpose in purposes:
        with _only_writer(directory, purpose) as path:
            if not _kids(path):
                _write(path, purpose, _new_kid())


def rotate(directory: Path, purpose: str) -> str:
    """Add a key, which will sign from ten minutes on, and give its kid. Old ones stay: they verify what they signed."""
    with _only_writer(directory, purpose) as path:
        kid = _new_kid()
        if (newest := max(_kids(path), default="")) >= kid:
            raise KeyProblem(f"The new key {kid} would not sort after {newest} in {path}: is the clock right?")
        _write(path, purpose, kid)
        return kid


def kids(directory: Path, purpose: str) -> list[str]:
    """Oldest first; empty where there is no key."""
    return _kids(directory / purpose)


def _kids(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if _KID.fullmatch(entry.name)) if path.is_dir() else []


def _new_kid() -> str:
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]


def _made(kid: str) -> float | None:
    """Seconds since 1970, or None for a kid that somebody named by hand."""
    try:
        return datetime.strptime(kid[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _read(path: Path, purpose: str) -> Mapping[str, bytes]:
    keys = {kid: _parse(path / kid, purpose) for kid in _kids(path)}
    if not keys:
        raise KeyProblem(
            f"There is no key for {purpose!r}: a file {path}/<kid> was expected. "
            f"`control-centre keys rotate {purpose}` makes one; in production mount them at KEYS_DIR."
        )
    return keys


def _parse(path: Path, purpose: str) -> bytes:
    try:
        content = path.read_bytes()
        if purpose == TOKEN:
            if not isinstance(serialization.load_pem_private_key(content, None), Ed25519PrivateKey):
                raise KeyProblem(f"{path} is not an Ed25519 private key.")
            return content
        key = base64.b64decode(content.strip(), validate=True)
    except (OSError, ValueError, TypeError, binascii.Error) as error:
        raise KeyProblem(f"{path} cannot be read as a key for {purpose!r}: {error}.") from error
    if len(key) != 32:
        raise KeyProblem(f"{path} holds {len(key)} bytes; a key for {purpose!r} has 32.")
    return key


def _write(path: Path, purpose: str, kid: str) -> None:
    """Readable by the owner alone, complete from the moment it has its name."""
    draft = path / f".{kid}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_generate(purpose))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path / kid)


def _generate(purpose: str) -> bytes:
    if purpose == TOKEN:
        return Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return base64.b64encode(secrets.token_bytes(32)) + b"\n"


@contextmanager
def _only_writer(directory: Path, purpose: str) -> Iterator[Path]:
    if not _PURPOSE.fullmatch(purpose):
        raise KeyProblem(f"{purpose!r} is not a purpose of keys: {', '.join(PURPOSES)}.")
    path = directory / purpose
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(lock)
