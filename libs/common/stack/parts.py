"""PostgreSQL, NATS, S3 and mail: started here, or used where the environment gives an address.

    with Parts.start(folder) as parts:
        parts.addresses.postgres

POSTGRES_URL    an administrator's address
NATS_URL        with a user: used by every service. Without: the server knows the users and passwords that stand in
                <folder>/nats/nats.conf
S3_ENDPOINT     with S3_KEY, S3_SECRET, S3_BUCKET and S3_REGION
SMTP_URL        a relay; there is no mail page then
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import msgspec

from libs.common.stack.errors import PartFailed
from libs.common.stack.group import Group
from libs.common.stack.mail import Mail
from libs.common.stack.nats import Nats
from libs.common.stack.part import Part
from libs.common.stack.postgres import Postgres
from libs.common.stack.s3 import S3, S3Address


class Addresses(msgspec.Struct, frozen=True):
    postgres: str
    """The administrator's."""
    nats: Mapping[str, str]
    """By user."""
    s3: S3Address
    smtp: str
    mail: str
    """The page of the catcher; empty where SMTP_URL is given."""


class Parts(Group):
    addresses: Addresses

    @classmethod
    @contextmanager
    def start(cls, folder: Path, *, environ: Mapping[str, str] = os.environ, durable: bool = True) -> Iterator[Self]:
        """durable: PostgreSQL waits for the disk. Raises PartFailed."""
        with cls(folder) as parts:
            parts.start_parts(environ, durable=durable)
            yield parts

    def start_parts(self, environ: Mapping[str, str], *, durable: bool = True) -> None:
        if environ.get("STACK") == "containers":
            from libs.common.stack import containers

            environ = {**environ, **containers.start(self)}
        postgres = Postgres(self.state, durable=durable)
        nats, s3, mail = Nats(self.state), S3(self.state), Mail(self.state)
        ours: dict[str, Part] = {"POSTGRES_URL": postgres, "NATS_URL": nats, "S3_ENDPOINT": s3, "SMTP_URL": mail}
        for variable, part in ours.items():
            if environ.get(variable):
                _require_reachable(part.name, variable, environ[variable])
        if environ.get("NATS_URL"):
            nats.prepare()  # whoever runs it may want our configuration
        self.bring_up(*(part for variable, part in ours.items() if not environ.get(variable)))
        self.addresses = Addresses(
            postgres=environ.get("POSTGRES_URL") or postgres.url,
            nats=_nats_given(environ["NATS_URL"], nats.urls) if environ.get("NATS_URL") else nats.urls,
            s3=_s3_given(environ) if environ.get("S3_ENDPOINT") else s3.address,
            smtp=environ.get("SMTP_URL") or mail.smtp,
            mail="" if environ.get("SMTP_URL") else mail.page,
        )


def _nats_given(url: str, ours: Mapping[str, str]) -> Mapping[str, str]:
    place = urlsplit(url)
    if place.username:
        return dict.fromkeys(ours, url)
    return {user: f"nats://{urlsplit(own).netloc.rpartition('@')[0]}@{place.netloc}" for user, own in ours.items()}


def _s3_given(environ: Mapping[str, str]) -> S3Address:
    missing = [name for name in ("S3_KEY", "S3_SECRET", "S3_BUCKET") if not environ.get(name)]
    if missing:
        raise PartFailed("s3", f"S3_ENDPOINT is set, {', '.join(missing)} not", "Set them, or unset S3_ENDPOINT.")
    region = environ.get("S3_REGION", "us-east-1")
    return S3Address(environ["S3_ENDPOINT"], environ["S3_KEY"], environ["S3_SECRET"], environ["S3_BUCKET"], region)


def _require_reachable(part: str, variable: str, url: str) -> None:
    place = urlsplit(url)
    usual = {"postgresql": 5432, "postgres": 5432, "nats": 4222, "https": 443, "http": 80, "smtp": 25, "smtps": 465}
    host, port = place.hostname or "", place.port or usual.get(place.scheme, 0)
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        why = f"nobody answers at {host}:{port}, which {variable} names ({error})"
        raise PartFailed(part, why, f"Start it there, or unset {variable} to use one of our own.") from None
