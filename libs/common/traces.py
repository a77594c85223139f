"""Traces by W3C trace context: in and out of HTTP, and through events.

Without an exporter nothing is recorded and no SDK is loaded, but every span still belongs to a trace: its id stands in
problems and logs. Spans carry ids and outcomes, never texts of errors (these may hold what a person typed).
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from opentelemetry import context as contexts
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from libs.common.scrub import scrub

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["SpanKind", "configure", "current_trace_id", "current_traceparent", "span"]

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_tracer: Tracer = NoOpTracer()


def configure(service: str, endpoint: str | None, exporter: "SpanExporter | None" = None) -> Callable[[], None]:
    """Send spans to endpoint (OTLP over HTTP), or nowhere. Returns what flushes and ends it, as the process's end
    does."""
    global _tracer
    if not endpoint and exporter is None:
        _tracer = NoOpTracer()
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": service}))
    if exporter is None:
        exporter = OTLPSpanExporter(endpoint=f"{str(endpoint).rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("control-centre")
    return provider.shutdown


@contextmanager
def span(
    name: str, traceparent: str | None = None, *, kind: SpanKind = SpanKind.INTERNAL, **ids: str | int | UUID
) -> Iterator[Span]:
    """A span below traceparent (when it is well-formed), else below the current one, else of a new trace.

    ids become attributes. An error that passes marks the span with its class name, nothing more.
    """
    parent = contexts.get_current()
    remote = _parse(traceparent) if traceparent else None
    if remote is not None:
        parent = set_span_in_context(NonRecordingSpan(remote), parent)
    elif isinstance(_tracer, NoOpTracer) and not get_current_span(parent).get_span_context().is_valid:
        parent = set_span_in_context(NonRecordingSpan(_fresh()), parent)
    current = _tracer.start_span(name, context=parent, kind=kind)
    if current.is_recording():
        for key, value in ids.items():
            current.set_attribute(key, value if isinstance(value, int) else str(scrub(str(value))))
    token = contexts.attach(set_span_in_context(current, parent))
    try:
        yield current
    except BaseException as error:
        if current.is_recording():
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
        raise
    finally:
        contexts.detach(token)
        current.end()


def current_traceparent() -> str | None:
    """What goes along with events and internal requests; None outside every span."""
    at = get_current_span().get_span_context()
    return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags & 1:02x}" if at.is_valid else None


def current_trace_id() -> str:
    """32 hexadecimal digits; empty outside every span."""
    at = get_current_span().get_span_context()
    return f"{at.trace_id:032x}" if at.is_valid else ""


def _parse(traceparent: str) -> SpanContext | None:
    """W3C Trace Context §3.2, version 00 only. Whatever else is sent is as good as nothing."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    return (
        SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & 1))
        if trace_id and span_id
        else None
    )


def _fresh() -> SpanContext:
    number = int.from_bytes(os.urandom(24)) or 1
    return SpanContext(number >> 64, number & 0xFFFFFFFFFFFFFFFF, is_remote=False)
