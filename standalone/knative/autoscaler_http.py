"""The autoscaler's socket: ``POST /wake`` and ``POST /stats`` of the gateway, beside the admin page.

The contract is in docs/explanation/standalone.md. Malformed bodies get 400 with one sentence, an unknown revision
404, an API server that is away 503 with ``Retry-After``.

Invariant: no body makes the process fail, and none larger than 8 MiB is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry

from standalone.knative.autoscaler import Autoscaler, Stat, UnknownRevisionError
from wakeful.kit.httpserver import admin_app
from wakeful.kit.kube import ApiError

BODY_LIMIT_BYTES = 8 << 20


def build_app(
    autoscaler: Autoscaler, is_healthy: Callable[[], str | None], registry: CollectorRegistry
) -> web.Application:
    """The application for ``autoscaler.sock``."""

    async def wake(request: web.Request) -> web.Response:
        body = await _read(request)
        namespace, revision = body.get("namespace"), body.get("revision")
        if not (isinstance(namespace, str) and isinstance(revision, str) and namespace and revision):
            raise _refusal(400, 'the body must be {"namespace": NAME, "revision": NAME}')
        try:
            woken = await autoscaler.wake(namespace, revision)
        except UnknownRevisionError as error:
            raise _refusal(404, str(error)) from error
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _refusal(503, f"the API server did not store the new scale: {error}") from error
        answer = {"desired": woken.desired, "reason": woken.reason, "decided_at": woken.decided_at}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async def stats(request: web.Request) -> web.Response:
        body = await _read(request)
        at, given = body.get("at"), body.get("stats")
        if at is None or not _is_number(at) or not isinstance(given, list):
            raise _refusal(400, 'the body must be {"at": UNIX_SECONDS, "stats": [...]}')
        autoscaler.record(float(at), [_parse_stat(item, index) for index, item in enumerate(given)])
        return web.Response(status=204)

    app = admin_app(is_healthy, registry, BODY_LIMIT_BYTES)
    app.router.add_post("/wake", wake)
    app.router.add_post("/stats", stats)
    return app


def _parse_stat(item: Any, index: int) -> Stat:
    if isinstance(item, dict):
        namespace, revision = item.get("namespace"), item.get("revision")
        concurrency, requests = item.get("concurrency", 0), item.get("requests", 0)
        named = isinstance(namespace, str) and isinstance(revision, str)
        if named and _is_number(concurrency) and _is_number(requests) and min(concurrency, requests) >= 0:
            return Stat(str(namespace), str(revision), float(concurrency), float(requests))
    raise _refusal(
        400,
        f"stats[{index}] must have namespace and revision (texts), concurrency and requests (numbers >= 0)",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


async def _read(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _refusal(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise _refusal(400, "the body must be a JSON object")
    return body


def _refusal(code: int, text: str) -> web.HTTPException:
    classes = {400: web.HTTPBadRequest, 404: web.HTTPNotFound, 503: web.HTTPServiceUnavailable}
    headers = {"Retry-After": "1"} if code == 503 else None
    return classes[code](
        text=orjson.dumps({"error": text}).decode(), content_type="application/json", headers=headers
    )
