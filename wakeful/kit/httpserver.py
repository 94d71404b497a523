"""Start and stop aiohttp applications on a TCP address or a unix socket, and the admin page every process has.

``listen`` strings: ``tcp:HOST:PORT`` or ``unix:PATH``. The admin page answers ``/healthz`` (200 ``ok`` or 503 and
the reason) and ``/metrics`` (Prometheus text).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from wakeful.kit import listening
from wakeful.kit.listening import ListenError as ListenError


async def start(app: web.Application | web.Server, listen: str, shutdown_s: float = 5.0) -> web.BaseRunner:
    """Serve ``app`` on ``listen``. The caller ends it with ``await runner.cleanup()``. Raises ``ListenError``."""
    runner: web.BaseRunner
    if isinstance(app, web.Application):
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_s, handler_cancellation=True)
    else:
        runner = web.ServerRunner(app, shutdown_timeout=shutdown_s)
    await runner.setup()
    kind, _, address = listen.partition(":")
    site: web.BaseSite
    if kind == "unix":
        with contextlib.suppress(FileNotFoundError):
            Path(address).unlink()
        site = web.UnixSite(runner, address)
    try:
        if kind != "unix":
            site = _tcp_site(runner, address)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ListenError(listening.sentence(listen, error)) from error
    if kind == "unix":
        Path(address).chmod(0o600)
    return runner


def _tcp_site(runner: web.BaseRunner, address: str) -> web.BaseSite:
    host, _, port = address.rpartition(":")
    listener = listening.bind(host, int(port))
    return web.TCPSite(runner, host, int(port)) if listener is None else web.SockSite(runner, listener)


def admin_app(
    is_healthy: Callable[[], str | None],
    registry: CollectorRegistry | None = None,
    body_limit_bytes: int = 1 << 20,
) -> web.Application:
    """The admin application. ``is_healthy`` returns None, or one sentence that says what is wrong."""

    async def healthz(_: web.Request) -> web.Response:
        wrong = is_healthy()
        return web.Response(text=wrong or "ok", status=503 if wrong else 200)

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(registry) if registry else b""
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=body_limit_bytes)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    return app
