"""OpenTelemetry spans, where an exporter is configured; nothing at all where none is.

Used by the model server, the gateway and transformers. The standard variables decide: ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or
``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``) turns tracing on, ``OTEL_TRACES_SAMPLER`` and ``OTEL_SERVICE_NAME`` mean what
they mean everywhere, ``OTEL_SDK_DISABLED=true`` turns it off. The SDK is imported only when it is on (extra
``tracing``). W3C trace context is passed on by whoever forwards headers, with or without this module.

Invariant: no call here waits or raises into a request; the SDK's queue is bounded and drops what is too much.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from wakeful.kit import logs

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
CLOSE_S = 2.0
Attributes = Mapping[str, str | int | float | bool]

log = logs.get("tracing")


class Span:
    """One operation under way; ``end`` it once."""

    __slots__ = ("_span", "_tracer", "traceparent")

    def __init__(self, tracer: Any, span: Any) -> None:
        self._tracer = tracer
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        """What a request made on behalf of this operation carries."""

    def child(self, name: str, start_ns: int, end_ns: int, attributes: Attributes | None = None) -> None:
        """Record a finished part of the operation; times are ``time.time_ns``."""
        from opentelemetry import trace

        inner = self._tracer.start_span(
            name, trace.set_span_in_context(self._span), attributes=attributes, start_time=start_ns
        )
        inner.end(end_ns)

    def end(self, attributes: Attributes, error: str = "") -> None:
        """Finish the operation, as failed when ``error`` says how."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attributes(attributes)
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error[:500]))
        self._span.end()


class Tracer:
    """One process's spans."""

    def __init__(self, provider: Any, exporter: Any) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._exporter = exporter
        self._tracer = provider.get_tracer("wakeful")
        self._extract = TraceContextTextMapPropagator().extract

    def begin(self, name: str, headers: Mapping[str, str], attributes: Attributes | None = None) -> Span:
        """The span of a request that came with ``headers`` (lower-case names): a child of their traceparent, if any."""
        from opentelemetry.trace import SpanKind

        carrier = {key: headers[key] for key in ("traceparent", "tracestate") if key in headers}
        parent = self._extract(carrier)
        return Span(
            self._tracer, self._tracer.start_span(name, parent, SpanKind.SERVER, attributes=attributes)
        )

    def close(self) -> None:
        """Send what is left, for ``CLOSE_S`` at most, and stop the SDK's thread. Blocks: call it in a thread."""
        flush = threading.Thread(target=self._provider.force_flush, name="spans-flush", daemon=True)
        flush.start()  # in a thread, because it keeps to no time limit while the receiver is away
        flush.join(CLOSE_S)
        self._exporter.shutdown()  # first: a processor waits for the exporter's retries, half a minute
        self._provider.shutdown()


class _Bridge(logging.Handler):
    """The SDK's complaints as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("spans not sent", detail=" ".join(record.getMessage().split())[:300])


def from_environ(environ: Mapping[str, str], service_name: str) -> Tracer | None:
    """The tracer that the environment asks for, or None; a missing package is a warning, not the end."""
    endpoint = next((environ[name] for name in ENDPOINTS if environ.get(name)), "")
    if not endpoint or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning(
            "no spans: OpenTelemetry is not installed", missing=str(error.name), extra="wakeful[tracing]"
        )
        return None
    resource = Resource.create({"service.name": environ.get("OTEL_SERVICE_NAME") or service_name})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    sdk_log = logging.getLogger("opentelemetry")
    if not any(isinstance(handler, _Bridge) for handler in sdk_log.handlers):
        sdk_log.addHandler(_Bridge(logging.ERROR))
        sdk_log.propagate = False
    return Tracer(provider, exporter)
