"""What the rows stand on: one stack for a run, tenants in it, tokens that never run out, and processes beside it.

The stack begins when the first row asks for it, and ends with the run whatever happens.
"""

import contextlib
import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import asyncpg
import msgspec
from rich.console import Console

from libs.common.keys import KeyRing
from libs.common.permissions import Permission
from libs.common.stack.part import Part, http_status
from libs.common.stack.service import CONTROL_CENTRE, PYTHON, Service
from libs.common.stack.stack import Stack
from libs.common.stack.visitor import Visitor
from libs.common.tokens import Actor, IssuerKeys, TokenIssuer
from tests import parts
from tests.journeys.world import Operator, World

ROOT = Path(__file__).parents[2]
RIGHTS = frozenset(str(right) for right in Permission)


class Sizes:
    """How much is measured: seconds of each half of a pair, pairs, and what a row is asked to hold."""

    def __init__(self, *, full: bool, seconds: float | None, pairs: int | None, given: Mapping[str, int]) -> None:
        self.seconds = seconds or (4.0 if full else 1.5)
        self.pairs = pairs or (9 if full else 5)
        self.members = given.get("members") or (1_000_000 if full else 50_000)
        self.mails = given.get("mails") or (10_000 if full else 1_000)
        self.mebibytes = given.get("mebibytes") or (5 * 1024 if full else 256)
        self.files = given.get("files") or (10_000 if full else 500)
        self.revocations = given.get("revocations") or 200


class Place(msgspec.Struct, frozen=True):
    """A tenant, and somebody in it who may do everything."""

    id: str
    slug: str
    owner_id: str


class Process(Part):
    """Any program of ours that answers HTTP."""

    patience = 60
    asked_every = 0.1

    def __init__(self, ground: "Ground", name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        super().__init__(ground.stack.state)
        self.name = name
        self.port = self.state.port(name)
        self._command, self._environ = [*command, str(self.port)], environ

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return self._command

    def environ(self) -> Mapping[str, str]:
        return {**super().environ(), **self._environ}

    def is_ready(self) -> bool:
        return http_status(f"{self.url}/readyz", timeout=3) == 200


class Ground:
    def __init__(self, sizes: Sizes, console: Console) -> None:
        self.sizes, self.console = sizes, console
        self._open = contextlib.ExitStack()
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> "Ground":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def say(self, text: str) -> None:
        self.console.print(f"  [dim]{text}[/]")

    @cached_property
    def folder(self) -> Path:
        return self._open.enter_context(parts.folder())

    @cached_property
    def stack(self) -> Stack:
        environ = {"PORT": str(parts.free_port())}
        started = Stack.start(self.folder / "stack", environ=environ, durable=False, say=self.say)
        return self._open.enter_context(started)

    @cached_property
    def world(self) -> World:
        operator = Operator.create(self.stack, "operator@example.org", secrets.token_urlsafe(16))
        return World(self.stack, operator, self.visitor)

    def visitor(self) -> Visitor:
        return self._open.enter_context(Visitor(self.stack.gateway, self.stack.addresses.mail, timeout=120))

    def tenant(self, name: str) -> "Place":
        """One that may invite whom it likes. Nobody has accepted anything in it: its owner acts by tokens of ours."""
        slug = f"{name}-{uuid.uuid4().hex[:8]}"
        path, owner = "/members/v1/operator/tenants", {"email": f"owner@{slug}.example.org"}
        asked = {"slug": slug, "name": name, "locale": "de", "seats": 10_000_000, "owner": owner}
        self.mint_operator()
        made = self.world.operator.ask("POST", path, asked)
        self.trust(made["id"])
        return Place(made["id"], slug, str(uuid.uuid4()))

    def trust(self, tenant_id: str) -> None:
        self.mint_operator()
        operator, path = self.world.operator.visitor, f"/members/v1/operator/tenants/{tenant_id}"
        version = {"If-Match": f'"{operator.ask("GET", path)["version"]}"'}
        operator.ask("PATCH", path, {"mail_class": "trusted"}, headers=version)

    def mint_operator(self) -> None:
        """Before the world is asked for something: a run takes longer than a token lives."""
        self.world.operator.visitor.token = self.token(None, uuid.uuid4())

    def token(self, tenant_id: str | None, actor_id: str | uuid.UUID, *, av: int = 1_000_000) -> str:
        """A fresh one, with every right; without a tenant an operator's."""
        issuer = TokenIssuer(IssuerKeys(KeyRing(self.stack.keys_dir, "token")), self.stack.gateway)
        actor = Actor(
            kind="member" if tenant_id else "operator",
            id=uuid.UUID(str(actor_id)),
            tenant_id=uuid.UUID(tenant_id) if tenant_id else None,
            session_id=str(uuid.uuid4()),
            authorisation_version=av,
            holder=1,
            amr=("pwd",),
            auth_time=int(time.time()),
            rights=RIGHTS if tenant_id else frozenset(),
            expires_at=time.time() + 300,
        )
        return issuer.mint(actor)[0]

    def bearer(self, tenant: "Place") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(tenant.id, tenant.owner_id)}"}

    def url(self, service: str) -> str:
        """The service itself, without the gateway."""
        part = self.stack[service]
        assert isinstance(part, Service)
        return part.url

    def api(self, service: str) -> Process:
        """The service's API alone in its process, as in production: its worker is another's."""
        settings = self.stack.settings_of(service)
        return self._process(f"{service}-api", [*CONTROL_CENTRE, "serve", service, "--port"], settings)

    def bare(self, kind: str, **environ: str) -> Process:
        """tests/bench/bare.py as a process."""
        command = [*PYTHON, "tests.bench.bare", kind]
        return self._process(f"bare-{kind}", command, {**environ, "PYTHONPATH": str(ROOT)})

    async def admin(self, service: str) -> asyncpg.Connection:
        """The service's database, past row level security."""
        return await asyncpg.connect(self.stack.admin_url(service))

    def _process(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Process:
        if name not in self._processes:
            process = Process(self, name, command, environ)
            self.stack.bring_up(process)
            self._processes[name] = process
        return self._processes[name]
