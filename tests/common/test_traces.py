import asyncio
import uuid
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.common import traces

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    end = traces.configure("members", None, memory)
    yield memory
    end()
    traces.configure("members", None)


def _finished(exporter: InMemorySpanExporter) -> list[str]:
    traces._tracer.span_processor.force_flush()  # type: ignore[attr-defined]
    return [span.name for span in exporter.get_finished_spans()]


def test_outside_of_a_span_there_is_no_trace() -> None:
    assert traces.current_traceparent() is None
    assert traces.current_trace_id() == ""


def test_without_an_exporter_there_is_a_trace_all_the_same() -> None:
    with traces.span("a") as span:
        assert not span.is_recording()
        first = traces.current_trace_id()
        assert len(first) == 32
        assert int(first, 16)
        with traces.span("b"):
            assert traces.current_trace_id() == first
    with traces.span("c"):
        assert traces.current_trace_id() != first
    assert traces.current_trace_id() == ""


@pytest.mark.parametrize("recording", [True, False])
def test_a_trace_goes_on_from_what_was_received(recording: bool, request: pytest.FixtureRequest) -> None:
    if recording:
        request.getfixturevalue("exporter")
    with traces.span("consume", TRACEPARENT):
        assert traces.current_trace_id() == TRACE
        assert (traces.current_traceparent() or "").startswith(f"00-{TRACE}-")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"{TRACEPARENT}-extra",
        f"{TRACEPARENT}\n",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(traceparent: str) -> None:
    with traces.span("a", traceparent):
        assert traces.current_trace_id() not in {"", TRACE, "0" * 32}


def test_spans_form_a_tree_and_carry_ids(exporter: InMemorySpanExporter) -> None:
    member = uuid.uuid4()
    with traces.span("outer", TRACEPARENT, kind=traces.SpanKind.CONSUMER):
        sent = traces.current_traceparent()
        with traces.span("inner", member_id=member, attempts=2, note="Bearer abcdefgh12345"):
            pass
    assert _finished(exporter) == ["inner", "outer"]
    inner, outer = exporter.get_finished_spans()
    assert inner.attributes == {"member_id": str(member), "attempts": 2, "note": "Bearer [secret]"}
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert sent == f"00-{TRACE}-{outer.context.span_id:016x}-01"
    assert outer.parent is not None
    assert outer.parent.span_id == 0x00F067AA0BA902B7


def test_an_error_leaves_its_class_and_not_its_text(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="hunter2"), traces.span("a"):
        raise ValueError("password hunter2")
    _finished(exporter)
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.attributes == {"error.type": "ValueError"}
    assert "hunter2" not in span.to_json()


async def test_tasks_do_not_share_a_trace() -> None:
    async def one() -> str:
        with traces.span("a"):
            await asyncio.sleep(0)
            return traces.current_trace_id()

    found = await asyncio.gather(*(one() for _ in range(20)))
    assert len(set(found)) == 20


def test_an_endpoint_is_exported_to_under_its_trace_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    end = traces.configure("members", "http://127.0.0.1:4318/")
    try:
        (processor,) = traces._tracer.span_processor._span_processors  # type: ignore[attr-defined]
        exporter: SpanExporter = processor.span_exporter
        assert exporter._endpoint == "http://127.0.0.1:4318/v1/traces"  # type: ignore[attr-defined]
    finally:
        end()
        traces.configure("members", None)
