"""What pods take: a real process read from ``/proc``, and the node's answer turned into cores by its reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from waiting_rig import until

from standalone.knative.pod_usage import NodeUsage, PodUsage
from standalone.node.proc_reading import Proc
from wakeful.kit import httpserver

BUSY = "import os, time\nos.fork()\nwhile True: sum(range(10000))"


@pytest.fixture
def busy() -> Iterator[int]:
    """The leader of a session of two busy processes."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True)
    yield process.pid
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def test_the_processor_time_of_a_session_is_that_of_all_its_processes(busy: int) -> None:
    proc = Proc()
    await until(lambda: len(proc.sessions({busy}).get(busy, [])) == 2)
    await until(lambda: all(proc.cpu_s([pid]) > 0 for pid in proc.sessions({busy})[busy]), 20)
    usage = proc.usage({"a": busy, "gone": 2**22 + 1})
    assert set(usage) == {"a"}
    assert usage["a"].cpu_s >= sum(proc.cpu_s([pid]) for pid in [busy])
    assert usage["a"].memory_bytes > 1 << 20


async def test_cores_are_the_difference_of_two_readings(tmp_path: Path) -> None:
    readings = [
        {"at": 100.0, "containers": {"u/c/0": {"cpu_s": 5.0, "memory_bytes": 10}}},
        {
            "at": 110.0,
            "containers": {
                "u/c/0": {"cpu_s": 8.0, "memory_bytes": 12},
                "u/side/0": {"cpu_s": 1.0, "memory_bytes": 3},
                "v/c/1": {"cpu_s": 1.0, "memory_bytes": 7},
            },
        },
        {"at": 120.0, "containers": {"u/c/0": {"cpu_s": 9.0, "memory_bytes": 12}}},
    ]

    async def usage(_: web.Request) -> web.Response:
        return web.json_response(readings.pop(0)) if readings else web.Response(status=500)

    app = web.Application()
    app.router.add_get("/usage", usage)
    runner = await httpserver.start(app, f"unix:{tmp_path}/node.sock")
    reader = NodeUsage(tmp_path / "node.sock")
    try:
        assert await reader.read() == {"u": PodUsage(None, 10.0)}
        assert await reader.read() == {"u": PodUsage(None, 15.0), "v": PodUsage(None, 7.0)}
        assert await reader.read() == {"u": PodUsage(0.1, 12.0)}
        assert await reader.read() == {}
    finally:
        await runner.cleanup()
    assert await reader.read() == {}
