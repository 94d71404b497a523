"""A real HTTP server of one handler, for tests that play a subscriber, a sink or a model. On loopback, on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from wakeful.kit import httpserver

BODY_LIMIT_BYTES = 64 << 20


@asynccontextmanager
async def serving(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Every path and method goes to ``handle``; the server's URL."""
    app = web.Application(client_max_size=BODY_LIMIT_BYTES)
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = await httpserver.start(app, "tcp:127.0.0.1:0", shutdown_s=0.1)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
