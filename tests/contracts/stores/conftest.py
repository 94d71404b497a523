"""Real servers for the stores: an aiohttp file server in a thread, and moto's S3 server in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

ROOT = Path(__file__).resolve().parents[3]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FileServer:
    """Serves ``files`` with ETag and ranges; a path in ``special`` is answered by its own handler."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.special: dict[str, Answer] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FileServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def requests_of(self, path: str, method: str = "GET") -> list[dict[str, str]]:
        return [headers for seen, where, headers in self.seen if seen == method and where == path]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path, dict(request.headers)))
        if request.path in self.special:
            return await self.special[request.path](request)
        body = self.files.get(request.path)
        if body is None:
            return web.Response(status=404, text="no")
        return ranged(request, body)


def ranged(request: web.Request, body: bytes, **headers: str) -> web.Response:
    """``body`` as a correct server sends it."""
    etag = f'"{hash(body) & 0xFFFFFFFF:x}"'
    common = {"ETag": etag, "Content-Type": "application/octet-stream", **headers}
    wanted = request.http_range
    if wanted.start and request.headers.get("If-Range", etag) == etag:
        part = body[wanted.start :]
        place = f"bytes {wanted.start}-{len(body) - 1}/{len(body)}"
        return web.Response(status=206, body=part, headers={**common, "Content-Range": place})
    return web.Response(body=body, headers=common)


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """moto's server, in the environment of `hack/env s3`; ended with its whole process group."""
    subprocess.run([ROOT / "hack" / "env", "s3"], check=True, timeout=300)
    port = free_port()
    process = subprocess.Popen(
        [ROOT / "hack" / "env", "s3", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 40
        while not _answers(url):
            assert process.poll() is None, "the S3 server ended at start"
            assert time.monotonic() < deadline, "the S3 server did not start in 40 s"
            time.sleep(0.05)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
