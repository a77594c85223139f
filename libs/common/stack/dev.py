"""What `make run` does: the whole stack, the demo, addresses on the screen and in stack.json, then watch.

Ends with Ctrl-C, SIGTERM, SIGHUP or the death of whoever started it, and then ends every process; so does any process
of the stack that dies by itself.
"""

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog
from rich.console import Console
from rich.table import Table

from libs.common.stack.errors import PartFailed
from libs.common.stack.gateway import USUAL_PORT
from libs.common.stack.seed import Demo, seed
from libs.common.stack.seed_provider import SignIn, connect_provider
from libs.common.stack.stack import Stack
from libs.common.stack.state import write_private


def run(folder: Path, *, demo: bool = True) -> int:
    """The exit code: 0 after Ctrl-C, 1 after a failure. demo: make the demo tenants, or find them again."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
            signal.signal(number, signal.default_int_handler)
    try:
        steps = Steps(console)
        with Stack.start(folder, say=steps) as stack:
            people = _seed(stack, steps) if demo else Demo()
            sign_in = _connect(console, stack, people, steps)
            steps.done()
            for service in stack.databases:
                write_private(
                    stack.state.part("env") / f"{service}.json", json.dumps(stack.settings_of(service), indent=2)
                )
            write_private(stack.state.folder / "stack.json", json.dumps(describe(stack, people, sign_in), indent=2))
            _show(console, stack, people, sign_in)
            console.print("ready")
            try:
                _watch(stack, parent)
            finally:
                console.print("Ending …")
    except PartFailed as failure:
        _explain(console, failure)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


class Steps:
    """Tells what is being done, and how long it took."""

    def __init__(self, console: Console) -> None:
        self._console, self._step, self._since = console, "", 0.0

    def __call__(self, step: str) -> None:
        self.done()
        self._step, self._since = step, time.monotonic()

    def done(self) -> None:
        if self._step:
            self._console.print(f"[green]✓[/] {self._step} [dim]{time.monotonic() - self._since:.1f} s[/]")
        self._step = ""


def describe(stack: Stack, demo: Demo, sign_in: SignIn | None = None) -> dict[str, Any]:
    """What stack.json holds: every address, with the words that open it."""
    addresses = stack.addresses
    s3 = addresses.s3
    return {
        "gateway": stack.gateway,
        "mail": addresses.mail,
        "smtp": addresses.smtp,
        "nats": addresses.nats["platform"],
        "postgres": {service: stack.admin_url(service) for service in stack.databases},
        "s3": {"endpoint": s3.endpoint, "key": s3.key, "secret": s3.secret, "bucket": s3.bucket},
        **msgspec.to_builtins(demo),
        **({"provider": msgspec.to_builtins(sign_in)} if sign_in else {}),
    }


def _seed(stack: Stack, steps: Steps) -> Demo:
    steps("the demo")
    try:
        return seed(stack)
    except Exception:
        stack.require_alive()  # a process that died explains more than the request that failed
        raise


def _connect(console: Console, stack: Stack, demo: Demo, steps: Steps) -> SignIn | None:
    """Without its packages (no way to npm's registry, perhaps) everything else is there all the same."""
    if not demo.demo:
        return None
    steps("the demo identity provider")
    try:
        return connect_provider(stack, demo)
    except PartFailed as failure:
        console.print(f"[yellow]The demo identity provider is not there[/]: {failure.why}. {failure.remedy}")
    except RuntimeError as refusal:
        console.print(f"[yellow]The demo identity provider is not connected[/]: {refusal}")
    return None


def _watch(stack: Stack, parent: int) -> None:
    """Until a process of ours dies, which raises PartFailed, or our parent does."""
    while os.getppid() == parent:
        stack.require_alive()
        time.sleep(0.3)


def _show(console: Console, stack: Stack, demo: Demo, sign_in: SignIn | None) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("pages and API", stack.gateway)
    table.add_row("API reference", f"{stack.gateway}/docs")
    if stack.addresses.mail:
        table.add_row("mail", stack.addresses.mail)
    table.add_row("everything else", str(stack.state.folder / "stack.json"))
    console.print()
    console.print(table)
    if stack.port != USUAL_PORT and not os.environ.get("PORT"):
        console.print(f"[yellow]Port {USUAL_PORT} was taken by another program: the gateway is at {stack.port}.[/]")
    if demo.operator.address:
        console.print(f"\noperator  {demo.operator.address}  {demo.operator.password}  TOTP {demo.operator.totp}")
    for tenant in demo.demo:
        people = Table(
            "sign-in", "address", "password", "column", title=f"\n{tenant.slug}", title_justify="left", box=None
        )
        for member in tenant.members:
            people.add_row(member.login, member.address, member.password, member.column)
        console.print(people)
    if sign_in is not None:
        names = " or ".join(sign_in.people)
        console.print(f'\nSign in with an identity provider: {sign_in.page}, "Demo provider", as {names},')
        console.print(f"password {sign_in.password}")
    console.print()


def _explain(console: Console, failure: PartFailed) -> None:
    console.print(f"\n[red]✗ {failure.part}[/]: {failure.why}", markup=True)
    if words := failure.last_words():
        console.print(f"[dim]{failure.log}:[/]")
        console.print(words, markup=False, style="dim")
    console.print(failure.remedy, markup=False)
