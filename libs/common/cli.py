"""The command `control-centre`. A command's module is imported when the command is used, never for `--help`.

To add one: a line in COMMANDS. The attribute is the command itself, or a group or mapping that has it by this name.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import click

from libs.common import failpoints


class Lazy(NamedTuple):
    place: str
    """module:attribute"""
    help: str


COMMANDS: Mapping[str, Lazy] = {
    "dev": Lazy("libs.common.stack.cli:dev", "Start everything on this machine; Ctrl-C ends it"),
    "doctor": Lazy("libs.common.doctor:doctor", "Try every address that is set; say what is wrong"),
    "serve": Lazy("libs.common.cli_processes:serve", "Run a service's HTTP side"),
    "work": Lazy("libs.common.cli_processes:work", "Run a service's worker: relay, consumers, sweeps"),
    "migrate": Lazy("libs.common.cli_processes:migrate", "Bring a service's database to the newest version"),
    "streams": Lazy("libs.common.cli_events:streams", "Streams and durable consumers on the broker"),
    "events": Lazy("libs.common.cli_events:events", "Events that have been recorded"),
    "dead-letters": Lazy("libs.common.cli_events:dead_letters", "Events that could not be handled"),
    "audit": Lazy("libs.common.cli_events:audit", "What was written down about who did what"),
    "keys": Lazy("libs.common.cli_keys:commands", "Keys that sign and encrypt"),
    "operators": Lazy("services.identity.cli:commands", "People who run the installation"),
    "tenants": Lazy("services.members.cli:commands", "Customer organisations"),
    "documents": Lazy("services.documents.cli:commands", "Files and the store"),
}


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].place.split(":")
        found = getattr(importlib.import_module(module), attribute)
        of_many = found.commands if isinstance(found, click.Group) and cmd_name in found.commands else found
        command: click.Command = of_many[cmd_name] if isinstance(of_many, Mapping) else of_many
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--failpoint", envvar="FAILPOINT", hidden=True, help="Tests only: where this process shall kill itself.")
@click.option(
    "--as", "service", metavar="SERVICE", help="Take this service's settings from the stack of `make run` here."
)
def main(failpoint: str | None, service: str | None) -> None:
    """Who belongs, who may sign in, what they may do, and every mail sent to them."""
    if service:
        _take_settings(service)
    if failpoint:
        failpoints.arm(failpoint)


def _take_settings(service: str) -> None:
    """What the environment says already counts more."""
    try:
        given: dict[str, str] = json.loads((Path(".stack/env") / f"{Path(service).name}.json").read_text())
    except OSError:
        raise click.UsageError(f"No stack of {service!r} here. Start it by `make run`, in this folder.") from None
    for name, value in given.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    sys.exit(main())
