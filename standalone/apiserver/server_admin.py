"""The admin page on ``D/run/apiserver.sock``: ``/healthz`` and ``/metrics``, with the server's own HTTP edge.

Made by ``__main__``. It does without aiohttp, whose import costs a fifth of a second of the start. Invariant: the
socket is private to the user.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from standalone.apiserver import errors
from standalone.apiserver.server_assembly import Assembly
from standalone.apiserver.server_http import Connection
from standalone.apiserver.server_types import Request, Response

METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """The listening socket."""

    def __init__(self, listener: asyncio.Server, connections: set[Connection]) -> None:
        self._listener = listener
        self._connections = connections

    async def close(self) -> None:
        self._listener.close()
        for connection in list(self._connections):
            connection.abort()


async def start_admin(path: Path, assembly: Assembly) -> Admin:
    """Listen on the unix socket ``path``."""
    connections: set[Connection] = set()

    def dispatch(request: Request) -> Response:
        if request.path == "/healthz":
            failure = assembly.context.store.failure
            return Response(503 if failure else 200, (failure or "ok").encode(), "text/plain")
        if request.path == "/metrics":
            return Response(200, _metrics(assembly).encode(), METRICS)
        raise errors.no_such_path()

    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    loop = asyncio.get_running_loop()
    listener = await loop.create_unix_server(lambda: Connection(dispatch, connections), str(path))
    path.chmod(0o600)
    return Admin(listener, connections)


def _metrics(assembly: Assembly) -> str:
    store, hub = assembly.context.store, assembly.context.hub
    objects = [(name, len(store.bucket(name).entries)) for name in store.resources()]
    lines = [
        "# HELP apiserver_storage_objects Stored objects by resource.",
        "# TYPE apiserver_storage_objects gauge",
    ]
    lines += [f'apiserver_storage_objects{{resource="{name}"}} {count}' for name, count in sorted(objects)]
    numbers = (
        ("apiserver_watchers", "gauge", "Watch requests that are open.", hub.count()),
        (
            "apiserver_watchers_dropped_total",
            "counter",
            "Watchers cut off because they read too slowly.",
            hub.dropped,
        ),
        ("apiserver_resource_version", "gauge", "Highest resourceVersion that is visible.", store.version),
        (
            "apiserver_storage_failed",
            "gauge",
            "1 while the last group of writes could not be stored.",
            int(bool(store.failure)),
        ),
    )
    for name, kind, text, value in numbers:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]
    return "\n".join(lines) + "\n"
