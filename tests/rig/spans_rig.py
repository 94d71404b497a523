"""A real OTLP receiver, for tests of spans: keeps what arrives."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import http_rig
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[str, list[Span]]]:
    """The receiver's URL, and the spans it has."""
    seen: list[Span] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                seen.extend(scope.spans)
        return web.Response()

    async with http_rig.serving(handle) as url:
        yield url, seen
