"""Failpoints do nothing in a process that was not started for them, and all of them are described."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from libs.common import failpoints

ROOT = Path(__file__).parents[2]


def test_nothing_happens_at_a_failpoint_that_is_not_armed() -> None:
    failpoints.failpoint("after_effect_before_ack")


@pytest.mark.parametrize(("armed", "printed"), [("here", 0), ("here:3", 2), ("elsewhere", 5)])
def test_the_process_dies_at_the_passage_it_was_armed_for(armed: str, printed: int) -> None:
    program = (
        "import os\nfrom libs.common import failpoints\nfailpoints.arm_from(os.environ)\n"
        "for _ in range(5):\n    failpoints.failpoint('here'); print('passed', flush=True)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env={failpoints.VARIABLE: armed}, cwd=ROOT, capture_output=True, text=True
    )
    assert ended.stdout.count("passed") == printed
    assert ended.returncode == (0 if printed == 5 else -signal.SIGKILL)


def test_the_command_line_arms_it(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from libs.common.cli import main

    CliRunner().invoke(main, ["--failpoint", "nowhere:7", "keys", "list", "--directory", str(tmp_path)])
    assert failpoints._armed.pop("nowhere") == 7


def test_every_failpoint_is_described_and_every_description_is_of_one() -> None:
    described = set(re.findall(r"^(\w+_(?:before|after)_\w+) ", failpoints.__doc__ or "", re.MULTILINE))
    used = {
        name
        for folder in ("libs", "services")
        for file in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'failpoint\("(\w+)"\)', file.read_text())
    }
    assert described == used
