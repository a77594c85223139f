"""Logs: one JSON object per line on stderr, times in UTC, ids only, secrets made unreadable whoever writes them.

`structlog.get_logger()` and the standard library's loggers go the same way. What a line belongs to (trace_id,
request_id, tenant_id) is bound to the context once, by whoever knows it; see `bind`.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from libs.common.scrub import scrub
from libs.common.traces import current_trace_id

# Granian sets its own handlers at start; with this as log_dictconfig its lines come through the root logger instead.
GRANIAN_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {},
    "formatters": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"level": "CRITICAL", "propagate": False}},
}

# Written by ourselves, on every line, and nobody else's text.
_OURS = frozenset({"level", "timestamp", "service", "trace_id", "request_id", "ms"})

# Libraries that tell more at INFO than anybody wants, or that log requests (ours are logged by request_context).
_QUIET = ("httpx", "httpcore", "nats", "botocore", "boto3", "urllib3", "sqlalchemy.engine", "asyncio", "aiosmtplib")

# Set up handlers of their own as soon as something of theirs is made.
_WILFUL = ("litestar", "_granian")


def configure(service: str, level: str = "info", json: bool | None = None) -> None:
    """Set up this process's logs, once, before anything is logged. json: None means unless stderr is a terminal."""
    if json is None:
        json = not sys.stderr.isatty()
    render: Processor = _as_json if json else _Console()
    steps = processors(service)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*steps, render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,  # tests and the worker in the same process configure after import
    )
    handler = _Stderr()
    handler.setFormatter(_LibraryFormatter([*steps, render]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _WILFUL:
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [], True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.captureWarnings(True)


def processors(service: str) -> list[Processor]:
    """What happens to every line before it is rendered."""
    return [structlog.contextvars.merge_contextvars, _belonging_to(service), _exception, _scrub]


def bind(**ids: str | UUID | None) -> None:
    """Put ids on every further line of this request or event: bind(tenant_id=…). None takes an id away."""
    structlog.contextvars.bind_contextvars(**{key: str(value) for key, value in ids.items() if value is not None})
    structlog.contextvars.unbind_contextvars(*(key for key, value in ids.items() if value is None))


def _belonging_to(service: str) -> Processor:
    def add(_: WrappedLogger, level: str, line: EventDict) -> EventDict:
        line["level"] = "error" if level == "exception" else level
        line["timestamp"] = f"{datetime.now(UTC).replace(tzinfo=None).isoformat()}Z"
        line["service"] = service
        if "trace_id" not in line and (trace_id := current_trace_id()):
            line["trace_id"] = trace_id
        return line

    return add


class _Stderr(logging.Handler):
    """Writes to what stderr is now, as our own lines do."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


class _LibraryFormatter(logging.Formatter):
    """Sends a standard library record through our steps.

    A library's sentence is no event name: it stands beside one, so that events stay countable.
    """

    def __init__(self, steps: Sequence[Processor]) -> None:
        super().__init__()
        self._steps = steps

    def format(self, record: logging.LogRecord) -> str:
        line: Any = {"event": "library_message", "logger": record.name, "message": record.getMessage()}
        line["exc_info"] = record.exc_info
        for step in self._steps:
            line = step(None, record.levelname.lower(), line)
        return str(line)


def _exception(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """exc_info becomes text without local variables."""
    found = line.pop("exc_info", None)
    error = sys.exception() if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        line["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return line


def _scrub(_: WrappedLogger, __: str, line: EventDict) -> Mapping[str, Any]:
    return {
        key if key.isidentifier() else scrub(key): value
        if key in _OURS
        else scrub(value, key, lines=key == "exception")
        for key, value in line.items()
    }


def _as_json(_: WrappedLogger, __: str, line: EventDict) -> str:
    return msgspec.json.encode(line).decode()


class _Console:
    """For people: one coloured line; a traceback is indented, so that nothing in it can pass for a line of its own."""

    def __init__(self) -> None:
        self._render: Callable[[WrappedLogger, str, MutableMapping[str, Any]], str] = structlog.dev.ConsoleRenderer()

    def __call__(self, logger: WrappedLogger, name: str, line: EventDict) -> str:
        exception = line.pop("exception", None)
        text = self._render(logger, name, line)
        return text if exception is None else text + "".join(f"\n    | {part}" for part in exception.split("\n"))
