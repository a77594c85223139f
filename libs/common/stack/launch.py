"""Becomes a part's process: gives up root, asks the kernel to end it together with its parent, runs the command.

    launch.py USER SIGNAL PARENT COMMAND...

A program of its own, without imports from here: it runs between fork and exec, where the parent, which has threads,
must not run any Python.
"""

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1


def main(user: str, signal: int, parent: int, command: list[str]) -> None:
    if user:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    if sys.platform == "linux":  # after setuid, which forgets it; elsewhere the guard alone does this work
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:
            sys.exit("the parent is gone already")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
