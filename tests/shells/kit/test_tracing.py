"""Spans arrive at a real OTLP receiver, joined to the caller's trace; a dead receiver harms nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import spans_rig
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from wakeful.kit import tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[Span]]]:
    async with spans_rig.receiving() as found:
        yield found


def tracer_to(url: str, monkeypatch: pytest.MonkeyPatch) -> tracing.Tracer:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)  # the SDK reads the process's own environment
    found = tracing.from_environ({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, "iris")
    assert found is not None
    return found


async def test_a_span_is_a_child_of_the_callers(
    receiver: tuple[str, list[Span]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = receiver
    tracer = tracer_to(url, monkeypatch)
    span = tracer.begin("POST :predict", {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert span.traceparent.startswith(f"00-{TRACE}-") and PARENT not in span.traceparent
    now = time.time_ns()
    span.child("predict", now, now + 1_000_000)
    span.end({"http.response.status_code": 500}, "the model raised")
    await asyncio.to_thread(tracer.close)
    by_name = {found.name: found for found in seen}
    outer, inner = by_name["POST :predict"], by_name["predict"]
    assert outer.trace_id.hex() == inner.trace_id.hex() == TRACE
    assert (outer.parent_span_id.hex(), inner.parent_span_id) == (PARENT, outer.span_id)
    assert outer.status.message == "the model raised"
    assert inner.end_time_unix_nano - inner.start_time_unix_nano == 1_000_000


@pytest.mark.parametrize("value", ["", "rubbish", "00-" + "0" * 32 + "-" + PARENT + "-01", "x" * 10_000])
async def test_a_malformed_traceparent_begins_a_new_trace(
    receiver: tuple[str, list[Span]], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    url, seen = receiver
    tracer = tracer_to(url, monkeypatch)
    tracer.begin("x", {"traceparent": value, "tracestate": "y" * 10_000}).end({})
    await asyncio.to_thread(tracer.close)
    assert [span.parent_span_id for span in seen] == [b""]


async def test_a_dead_receiver_costs_a_bounded_end(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = tracer_to("http://127.0.0.1:1", monkeypatch)
    started = time.monotonic()
    for _ in range(5000):
        tracer.begin("x", {}).end({})
    await asyncio.to_thread(tracer.close)
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}]
)
def test_without_an_exporter_there_are_no_spans(environ: dict[str, str]) -> None:
    assert tracing.from_environ(environ, "iris") is None
