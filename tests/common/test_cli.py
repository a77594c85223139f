"""The command line: quick to help, nothing imported that is not used."""

import importlib.util
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from libs.common.cli import COMMANDS, LazyGroup, main


def test_help_imports_no_service_and_nothing_heavy() -> None:
    code = """
import sys
from libs.common.cli import main
try: main(["--help"])
except SystemExit as end: assert end.code == 0
heavy = {"services", "litestar", "sqlalchemy", "granian", "nats", "rich"}
loaded = [name for name in sys.modules if name.split(".")[0] in heavy]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says(name: str) -> None:
    module = COMMANDS[name].place.partition(":")[0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not there yet")
    command = LazyGroup().get_command(click.Context(main), name)
    assert isinstance(command, click.Command)


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "nobody"], ["nonsense"], ["migrate", "members"]])
def test_a_wrong_call_is_explained(arguments: list[str]) -> None:
    done = CliRunner(env={"DATABASE_MIGRATE_URL": ""}).invoke(main, arguments)
    assert done.exit_code == 2
    assert "Error:" in done.output


def test_a_service_without_settings_names_them() -> None:
    done = CliRunner(env={"DATABASE_URL": "", "NATS_URL": ""}).invoke(main, ["serve", "members"])
    assert done.exit_code == 1
    assert "DATABASE_URL is not set" in done.output
    assert "NATS_URL is not set" in done.output
