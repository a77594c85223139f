"""What a process uses, as Linux counts it: steadier than the clock on a busy machine."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Of all its threads so far, in the kernel and out of it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory_bytes(pid: int) -> int:
    """That are its own or shared, and in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
