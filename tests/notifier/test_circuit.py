"""When the relay is asked again, and when a mail is tried again."""

import random
from datetime import timedelta

import pytest

from libs.common.db import now
from services.notifier.messages.circuit import Circuit


def test_the_circuit_lets_one_look_again_after_a_pause_that_doubles() -> None:
    clock = [0.0]
    circuit = Circuit(lambda: clock[0])
    assert circuit.may_try()
    circuit.failed("away")
    circuit.failed("away")  # another that was under way
    pauses = []
    for _ in range(8):
        assert not circuit.may_try()
        pauses.append(circuit.pause_left())
        clock[0] += circuit.pause_left()
        assert circuit.may_try()
        assert not circuit.may_try()  # only one
        circuit.failed("still away")
    assert [round(pause) for pause in pauses[:4]] == pytest.approx([1, 2, 4, 8], abs=1)
    assert max(pauses) <= 66
    clock[0] += 100
    assert circuit.may_try()
    circuit.worked()
    assert circuit.may_try()
    assert circuit.may_try()


def test_the_circuit_takes_an_unlucky_row_for_a_fault() -> None:
    circuit = Circuit()
    for _ in range(2):
        circuit.refused("no")
    circuit.worked()
    for _ in range(2):
        circuit.refused("no")
    assert not circuit.is_open
    circuit.refused("no")
    assert circuit.is_open


def test_the_schedule_is_soon_at_first_and_never_past_the_end() -> None:
    from services.notifier.messages.schedule import GIVE_UP, next_try

    start = now()
    end = start + timedelta(days=28)
    steps, at, tries = [], start, 0
    while True:
        tries += 1
        following = next_try(tries, at, first_try=start, expires_at=end, jitter=lambda: 0)
        if following is None:
            break
        steps.append((following - at).total_seconds())
        at = following
    assert steps[:8] == [30, 120, 600, 1800, 3600, 7200, 14400, 14400]
    assert at < start + GIVE_UP
    for _ in range(200):
        soon = start + timedelta(seconds=random.uniform(1, 100))
        following = next_try(1, start, first_try=start, expires_at=soon)
        assert following is None or start + timedelta(seconds=24) <= following < soon
        assert following is None or following <= start + timedelta(seconds=36)
