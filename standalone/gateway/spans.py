"""The gateway's part of a trace: one span a request to a revision, with the wait for a sleeping one as its parts.

Called by ``engine``; a no-op object when tracing is off (``wakeful.kit.tracing``). The pod gets the span's own
``traceparent``, so that the model server's span is its child.
"""

from __future__ import annotations

from collections.abc import Mapping

from activator_hooks.timeline import PHASES, Timeline
from standalone.gateway.exchange import Head
from standalone.gateway.revision import Revision
from wakeful.kit.tracing import Span, Tracer

SERVER_ERROR = 500
NS_PER_MS = 1_000_000


def begin(tracer: Tracer | None, head: Head, revision: Revision) -> Span | None:
    """Open the span of a request that goes to ``revision``; None when tracing is off."""
    if tracer is None:
        return None
    carried: Mapping[str, str] = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in head.headers
        if name in (b"traceparent", b"tracestate")
    }
    attributes = {
        "http.request.method": head.method.decode("latin-1"),
        "url.path": head.target.partition(b"?")[0].decode("latin-1")[:300],
        "server.address": head.authority[:255],
        "k8s.namespace.name": revision.view.namespace,
        "wakeful.revision": revision.view.name,
    }
    return tracer.begin(f"gateway {attributes['http.request.method']}", carried, attributes)


def end(span: Span, status: int, was_held: bool, timeline: Timeline | None) -> None:
    """Close it, with the phases of the wake that it waited for."""
    if timeline is not None:
        at_ns = int(timeline.seen_at * 1e9)
        for phase in PHASES:
            until_ns = at_ns + int(timeline.phases_ms[phase] * NS_PER_MS)
            span.child(f"wake {phase}", at_ns, until_ns)
            at_ns = until_ns
    attributes = {"http.response.status_code": status, "wakeful.cold_start": was_held}
    span.end(attributes, f"status {status}" if status >= SERVER_ERROR else "")
