"""Answers kept for requests that come again, byte for byte: opt-in with ``--response_cache_bytes``.

A handler around the HTTP edge (REST on HTTP/1.1 and HTTP/2; gRPC calls and events always reach the model). The key is
the model and how often it was loaded, the route, the headers that an answer may depend on, and the body (as a 32-byte
digest). Only whole answers with status 200 are kept, the least recently used leaves first. For models whose answer
depends on the body alone: whoever turns this on says so. ``Cache-Control: no-store`` or ``no-cache``, from either side,
passes by.

Invariant: the bodies kept never exceed ``max_bytes``; an answer of a model that is not ready is never given.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from hashlib import blake2b

from prometheus_client import Counter, Gauge

from wakeful.core.errors import FailureError
from wakeful.serving import http_replies, http_routes, http_v1
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.exchange import Answer, Cancel, Handler, Reply, Request
from wakeful.serving.http_routes import Kind, Route

KEY_HEADERS = ("content-type", "inference-header-content-length", "accept", "authorization")
ASKS_THE_MODEL = frozenset({"no-store", "no-cache", "max-age=0"})
"""What a request may say that wants the model's own answer."""
NOT_KEPT = ASKS_THE_MODEL | {"private", "s-maxage=0"}
"""What a model's answer may say of itself."""
LARGEST_SHARE = 8
"""An answer larger than this part of the bound is not kept."""
OVERHEAD_BYTES = 512
"""What an entry costs beside its body."""


class ResponseCache:
    """The handler; event loop only."""

    def __init__(self, inner: Handler, plane: DataPlane, max_bytes: int) -> None:
        self._inner = inner
        self._plane = plane
        self._max_bytes = max_bytes
        self._kept: OrderedDict[bytes, Reply] = OrderedDict()
        self.bytes = 0
        registry = plane.metrics.registry
        self._hits = Counter(
            "wakeful_serving_cache_hits", "Answers from the response cache", registry=registry
        )
        self._misses = Counter(
            "wakeful_serving_cache_misses", "Answers that were not in it", registry=registry
        )
        self._size = Gauge("wakeful_serving_cache_bytes", "Bytes the response cache holds", registry=registry)

    def begin(self, request: Request, answer: Answer) -> Cancel | None:
        route = _route(request)
        key = None if route is None else self._key(request, route)
        if key is None or route is None:
            return self._inner.begin(request, answer)
        kept = self._kept.get(key)
        if kept is None:
            self._misses.inc()
            return self._inner.begin(request, partial(self._keep, key, answer))
        self._kept.move_to_end(key)
        self._hits.inc()
        self._plane.metrics.count(route.model, "v2" if route.kind is Kind.V2_INFER else "v1", 200)
        headers = {**kept.headers, "X-Cache": "hit", "X-Request-Id": http_replies.request_id(request.headers)}
        answer(Reply(200, headers, kept.body))
        return None

    def screen(self, head: Request) -> Reply | None:
        return self._inner.screen(head)

    def failed(self, head: Request | None, error: Exception) -> Reply:
        return self._inner.failed(head, error)

    def _key(self, request: Request, route: Route) -> bytes | None:
        """What the answer depends on; None where the model cannot answer or nothing may be kept."""
        headers = request.headers.first
        if not _directives(headers.get("cache-control", "")).isdisjoint(ASKS_THE_MODEL):
            return None
        try:
            entry = self._plane.registry.ready(route.model)
        except FailureError:
            return None
        digest = blake2b(digest_size=32)
        for part in (request.target, str(entry.loads), *(headers.get(name, "") for name in KEY_HEADERS)):
            content = part.encode("utf-8", "surrogateescape")
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
        digest.update(request.body)
        return digest.digest()

    def _keep(self, key: bytes, answer: Answer, reply: Reply) -> None:
        body = reply.body
        if reply.status == 200 and isinstance(body, bytes | tuple):
            names = {name.lower(): value for name, value in reply.headers.items()}
            whole = body if isinstance(body, bytes) else b"".join(body)
            if _directives(names.get("cache-control", "")).isdisjoint(NOT_KEPT) and "set-cookie" not in names:
                self._add(key, Reply(200, dict(reply.headers), whole), len(whole) + OVERHEAD_BYTES)
        answer(reply)

    def _add(self, key: bytes, reply: Reply, size: int) -> None:
        if key in self._kept or size > self._max_bytes // LARGEST_SHARE:
            return
        self._kept[key] = reply
        self.bytes += size
        while self.bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self.bytes -= len(dropped.body) + OVERHEAD_BYTES  # type: ignore[arg-type]  # whole bodies only
        self._size.set(self.bytes)


def _directives(cache_control: str) -> frozenset[str]:
    """The directives of a ``Cache-Control``, which have no case (RFC 9111, 5.2)."""
    return (
        frozenset(part.strip().lower() for part in cache_control.split(",")) if cache_control else frozenset()
    )


def _route(request: Request) -> Route | None:
    """The route of a request whose answer may be kept."""
    if request.method != "POST":
        return None
    route = http_routes.match(request.method, request.target)
    if not isinstance(route, Route) or route.kind not in (Kind.V1_PREDICT, Kind.V2_INFER):
        return None
    if route.kind is Kind.V1_PREDICT and (
        http_v1.announces_event(request.headers) or http_v1.EVENT_MARK in request.body
    ):
        return None
    return route
