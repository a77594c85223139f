from collections.abc import Mapping

from libs.common import settings


class Settings(settings.Settings, frozen=True, kw_only=True):
    """What identity needs beyond what every service needs."""

    session_idle_minutes: int = 8 * 60
    session_hours: int = 7 * 24
    """However busy a session is, then people sign in again."""
    outgoing_loopback: bool = False
    """Identity providers may stand on this machine: for the local stack and tests alone."""
    password_time_cost: int = 2
    password_memory_kib: int = 19 * 1024
    """Argon2id as OWASP has it first; tests make it cheap."""


def load(environ: Mapping[str, str] | None = None) -> Settings:
    return settings.load(Settings, environ)
