"""Named places where a test may kill the process, to see that nothing is lost between two steps.

    control-centre --failpoint after_publish_before_mark work members      (or FAILPOINT=… in the environment)

A failpoint does nothing unless its process was started with its name: the command line arms it once, before anything
runs. `name:3` dies at the third passage; `name:signal` at the first one after SIGUSR1, so that the start is over.
The process kills itself with SIGKILL, as a power cut would.

after_record_before_commit      a change is written, not committed
after_commit_before_answer      it is committed, nobody has been told, not even the relay
after_commit_before_publish     the relay has it in hand, the broker has not
after_publish_before_mark       the broker has acknowledged, the outbox does not know
after_effect_before_ack         a consumer's effect is committed, the broker does not know
after_dead_letter_before_term   an event is set aside, the broker does not know
after_attempt_before_commit     a mail is claimed, not committed
after_attempt_before_smtp       the attempt is committed, the relay has no mail yet
after_smtp_before_result        the relay has answered, the answer is not committed
"""

import os
import signal
from collections.abc import Mapping

VARIABLE = "FAILPOINT"

_armed: dict[str, int] = {}


def arm(name: str) -> None:
    """`name`, `name:passage` or `name:signal`. Called by the command line at process start, never by the product."""
    place, _, passage = name.partition(":")
    if passage == "signal":
        _armed[place] = 0
        signal.signal(signal.SIGUSR1, lambda *_: _armed.update({place: 1}))
    else:
        _armed[place] = int(passage or 1)


def arm_from(environ: Mapping[str, str]) -> None:
    if environ.get(VARIABLE):
        arm(environ[VARIABLE])


def failpoint(name: str) -> None:
    if not _armed or name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
