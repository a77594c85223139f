"""One byte range of a request (RFC 9110 section 14); several, or what is no range, mean the whole file."""

import re

from libs.common.errors import AppError

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class RangeNotSatisfiable(AppError):
    status, title = 416, "The file has no such bytes"


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end, the end not included; None: the whole. Raises RangeNotSatisfiable."""
    found = _RANGE.fullmatch((header or "").replace(" ", ""))
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable(size=size)
    return start, end
