"""Settings are frozen structs, read once from the environment when a process starts; nothing is read at import time."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable and the way out."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs. Services derive their own from it; a field is the variable's name in lower case."""

    database_url: str
    database_relay_url: str
    database_sweep_url: str
    database_operator_url: str
    nats_url: str
    keys_dir: Path
    public_url: str
    """The one origin that people see; links in mails begin with it."""
    identity_url: str
    """Where this service reaches identity's key set (JWKS)."""
    trusted_proxies: str = "127.0.0.1/32,::1/128"
    """Networks whose X-Forwarded-For is believed, comma-separated."""
    database_pool: int = 10
    nats_replicas: int = 1
    """Of each stream: 3 in a cluster."""
    nats_stream_bytes: int = 256 * 1024 * 1024
    """Room of each stream; all together no more than the broker's store."""
    log_level: str = "info"


def load[S: Settings](kind: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Raises SettingsError that names every variable that is missing or has the wrong form."""
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    wrong = []
    for field in msgspec.structs.fields(kind):
        variable = field.name.upper()
        text = environ.get(variable, "")
        if not text and not field.required:
            continue
        if not text:
            wrong.append(f"{variable} is not set")
            continue
        try:
            found[field.name] = Path(text) if field.type is Path else msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            wrong.append(f"{variable}: {error}")
    if wrong:
        raise SettingsError("; ".join(wrong) + ". See docs/operators/settings.md.")
    return kind(**found)
