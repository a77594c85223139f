"""The whole stack: parts, databases, streams, the four services, the gateway.

with Stack.start(folder) as stack:
    stack.gateway, stack.addresses, stack.databases["members"].app
    stack.kill("members"); stack.restart("members")
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import msgspec

from libs.common.events.subjects import SERVICES
from libs.common.stack.errors import PartFailed
from libs.common.stack.gateway import USUAL_PORT, Gateway
from libs.common.stack.part import bare_environ, run
from libs.common.stack.parts import Parts
from libs.common.stack.service import CONTROL_CENTRE, PYTHON, Service

Say = Callable[[str], object]


class Stack(Parts):
    databases: Mapping[str, Any]
    """By service: libs.common.roles.Urls."""
    gateway: str
    port: int

    @classmethod
    @contextmanager
    def start(
        cls, folder: Path, *, environ: Mapping[str, str] = os.environ, durable: bool = True, say: Say = lambda _: None
    ) -> Iterator[Self]:
        """PORT in the environment moves the gateway. say: told what is being done. Raises PartFailed."""
        with cls(folder) as stack:
            stack._start(environ, durable, say)
            yield stack

    @property
    def keys_dir(self) -> Path:
        return self.state.folder / "keys"

    def _start(self, environ: Mapping[str, str], durable: bool, say: Say) -> None:
        (self.state.folder / "stack.json").unlink(missing_ok=True)  # of an earlier start; it comes when we are ready
        services = [Service(self.state, name) for name in SERVICES]
        wanted = environ.get("PORT", "")
        if wanted and not wanted.isdecimal():
            raise PartFailed("gateway", f"PORT is {wanted!r}", "Give a number, or nothing for 8080 or a free one.")
        ports = {service.name: service.port for service in services}
        gateway = Gateway(self.state, ports, int(wanted) if wanted else None, USUAL_PORT)
        self.gateway, self.port = gateway.url, gateway.port

        say("PostgreSQL, NATS, S3, mail")
        with ThreadPoolExecutor(1) as pool:
            keys = pool.submit(self._make_keys)
            self.start_parts(environ, durable=durable)
            keys.result()
        say("databases and streams")
        with ThreadPoolExecutor(1) as pool:
            streams = pool.submit(_apart, self._declare_streams)
            self.databases = _apart(self._provision)
            for service in services:
                service.settings = self.settings_of(service.name, identity=f"http://127.0.0.1:{ports['identity']}")
            self._migrate()
            streams.result()
        say("identity, members, documents, notifier, gateway")
        self.bring_up(gateway, *services)

    def settings_of(self, service: str, identity: str = "") -> dict[str, str]:
        """The environment of a service's processes."""
        urls, s3 = self.databases[service], self.addresses.s3
        return {
            "PUBLIC_URL": self.gateway,
            "DATABASE_URL": urls.app,
            "DATABASE_RELAY_URL": urls.relay,
            "DATABASE_SWEEP_URL": urls.sweep,
            "DATABASE_OPERATOR_URL": urls.operator,
            "DATABASE_MIGRATE_URL": urls.migrate,
            "NATS_URL": self.addresses.nats[service],
            "KEYS_DIR": str(self.keys_dir),
            "IDENTITY_URL": identity or self._url("identity"),
            "SMTP_URL": self.addresses.smtp,
            "S3_ENDPOINT": s3.endpoint,
            "S3_KEY": s3.key,
            "S3_SECRET": s3.secret,
            "S3_BUCKET": s3.bucket,
            "S3_REGION": s3.region,
            "OUTGOING_LOOPBACK": "true",
        }

    def admin_url(self, service: str) -> str:
        """The service's database as the administrator sees it: everything, whatever row level security says."""
        place = urlsplit(self.addresses.postgres)
        return urlunsplit(place._replace(path=urlsplit(self.databases[service].app).path))

    def control_centre(self, service: str, *arguments: str) -> str:
        """What `control-centre ARGUMENTS` prints, run as the service's operator would. Raises PartFailed."""
        code, printed = run([*CONTROL_CENTRE, *arguments], env={**bare_environ(), **self.settings_of(service)})
        if code:
            command = " ".join(("control-centre", *arguments))
            raise PartFailed(service, f"`{command}` failed", printed.decode())
        return printed.decode()

    def _url(self, service: str) -> str:
        part = self[service]
        assert isinstance(part, Service)  # noqa: S101
        return part.url

    def _make_keys(self) -> None:
        from libs.common.keys import ensure_keys

        ensure_keys(self.keys_dir)

    async def _provision(self) -> Mapping[str, Any]:
        from libs.common.roles import ROLES, provision

        async def one(service: str) -> Any:
            passwords = {role: self.state.secret(f"postgres.{service}.{role}") for role in ROLES}
            return await provision(self.addresses.postgres, service, passwords)

        return dict(zip(SERVICES, await asyncio.gather(*map(one, SERVICES)), strict=True))

    async def _declare_streams(self) -> None:
        from libs.common.bus import Bus
        from libs.common.streams import declare

        bus = Bus(self.addresses.nats["platform"])
        await bus.start()
        try:
            await bus.connected()
            await declare(bus, update=True)
        finally:
            await bus.close()

    def _migrate(self) -> None:
        """All four in one process: it is the imports that take the time."""
        urls = {service: self.databases[service].migrate for service in SERVICES}
        log = self.state.log("migrate")
        code, printed = run([*PYTHON, "libs.common.stack.migrate"], input=msgspec.json.encode(urls))
        log.write_bytes(printed)
        if code:
            raise PartFailed("migrate", "a migration failed", "Mend it, or `make clean` to start from nothing.", log)


def _apart[T](work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run in a thread with an event loop of its own: the caller may be in one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()
