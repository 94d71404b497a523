"""Measure the model server: start to ready, memory, and requests a second and latency of V1, V2 and binary V2.

    hack/bench serving        WAKEFUL_BENCH_KSERVE=/venv/bin/python hack/bench serving

One scikit-learn iris model, one server process, this process as a closed-loop client over keep-alive connections.
With ``WAKEFUL_BENCH_KSERVE`` (a Python that has ``kserve`` and scikit-learn) KServe's own model server with the same
model file runs beside it, and rounds alternate, so that both see the same noise of the machine. One JSON line a figure.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import uvloop
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from benchmarks._ports import free_port

ROUND_S = 1.5
ROUNDS = 5
ROW = [5.1, 3.5, 1.4, 0.2]
KSERVE = """
import sys, joblib
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response
class Iris(Model):
    def load(self):
        self.estimator = joblib.load(sys.argv[1] + "/model.joblib")
        self.ready = True
    def predict(self, payload, headers=None):
        return get_predict_response(payload, self.estimator.predict(get_predict_input(payload)), self.name)
model = Iris("iris")
model.load()
ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1, access_log_format=None).start([model])
"""


@dataclass(slots=True)
class Target:
    """One server under test and what was measured of it."""

    name: str
    command: list[str]
    port: int
    process: subprocess.Popen[bytes] | None = None
    rates: dict[str, list[float]] = field(default_factory=dict)
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)


def targets(folder: str) -> list[Target]:
    port = free_port()
    flags = [
        "--model_name=iris",
        f"--model_dir={folder}",
        f"--http_port={port}",
        "--http_address=127.0.0.1",
    ]
    found = [Target("wakeful", [sys.executable, "-m", "runtimes.sklearn", *flags], port)]
    python = os.environ.get("WAKEFUL_BENCH_KSERVE")
    if python:
        port = free_port()
        found.append(Target("kserve", [python, "-c", KSERVE, folder, str(port)], port))
    return found


def start(target: Target) -> None:
    """Start the server, wait until it is ready, print how long that took and what it holds."""
    began = time.perf_counter()
    target.process = subprocess.Popen(
        target.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{target.port}/v2/models/iris/ready"
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            break
        except OSError:
            if target.process.poll() is not None or time.perf_counter() - began > 90:
                raise SystemExit(f"{target.name} did not start: {' '.join(target.command)[:200]}") from None
            time.sleep(0.01)
    report(
        "start to ready", target.name, seconds=round(time.perf_counter() - began, 2), rss_mib=rss_mib(target)
    )


def rss_mib(target: Target) -> int:
    assert target.process is not None
    text = Path(f"/proc/{target.process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


def report(figure: str, name: str, **values: object) -> None:
    print(json.dumps({"figure": figure, "server": name, **values}), flush=True)


def request(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def requests() -> dict[str, bytes]:
    json_type = "Content-Type: application/json"
    tensor = {"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": ROW}
    rows = 1000
    raw = struct.pack(f"<{4 * rows}f", *ROW * rows)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "input-0",
                    "shape": [rows, 4],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": len(raw)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    binary = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}")
    v1, v2 = "/v1/models/iris:predict", "/v2/models/iris/infer"
    return {
        "v1, 1 row": request(v1, json.dumps({"instances": [ROW]}).encode(), json_type),
        "v1, 1000 rows": request(v1, json.dumps({"instances": [ROW] * rows}).encode(), json_type),
        "v2, 1 row": request(v2, json.dumps({"inputs": [tensor]}).encode(), json_type),
        "v2 binary, 1000 rows": request(v2, head + raw, *binary),
    }


class Caller(asyncio.Protocol):
    """One connection in a closed loop; counts answers by Content-Length or the last chunk."""

    def __init__(self, message: bytes, latencies_ms: list[float]) -> None:
        self._message = message
        self._latencies_ms = latencies_ms
        self._buffer = b""
        self.failed = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            is_whole = len(body) >= int(lower[at + 15 :].split(b"\r\n", 1)[0])
        else:
            is_whole = body.endswith(b"0\r\n\r\n")
        if is_whole:
            if not head.startswith(b"HTTP/1.1 200"):
                self.failed = self._buffer[:300].decode(errors="replace")
                self._transport.close()
                return
            self._latencies_ms.append((time.perf_counter() - self._began) * 1000)
            self._buffer = b""
            self._ask()

    def close(self) -> None:
        self._transport.close()


async def round_of(target: Target, figure: str, message: bytes, connections: int) -> None:
    """One round of ``ROUND_S`` against one server."""
    loop = asyncio.get_running_loop()
    latencies_ms: list[float] = []
    callers = []
    for _ in range(connections):
        _, caller = await loop.create_connection(
            lambda: Caller(message, latencies_ms), "127.0.0.1", target.port
        )
        callers.append(caller)
    began = time.perf_counter()
    await asyncio.sleep(ROUND_S)
    elapsed_s = time.perf_counter() - began
    for caller in callers:
        if caller.failed:
            raise SystemExit(f"{target.name}, {figure}: {caller.failed}")
        caller.close()
    target.rates.setdefault(figure, []).append(len(latencies_ms) / elapsed_s)
    target.latencies_ms.setdefault(figure, []).extend(latencies_ms)


async def measure(servers: list[Target]) -> None:
    for name, message in requests().items():
        for connections in (1, 16):
            figure = f"{name}, {connections} connection{'s' * (connections > 1)}"
            for _ in range(ROUNDS):
                for target in servers:
                    await round_of(target, figure, message, connections)
            for target in servers:
                rates, times = target.rates[figure], sorted(target.latencies_ms[figure])
                report(
                    figure,
                    target.name,
                    requests_per_s=round(statistics.median(rates)),
                    from_to=[round(min(rates)), round(max(rates))],
                    p50_ms=round(times[len(times) // 2], 2),
                    p99_ms=round(times[len(times) * 99 // 100], 2),
                )


def main() -> None:
    features, classes = load_iris(return_X_y=True)
    with tempfile.TemporaryDirectory() as folder:
        model = DecisionTreeClassifier(max_depth=2, random_state=0).fit(features, classes)
        joblib.dump(model, Path(folder) / "model.joblib")
        servers = targets(folder)
        try:
            for target in servers:
                start(target)
            uvloop.run(measure(servers))
            for target in servers:
                report("after all rounds", target.name, rss_mib=rss_mib(target))
        finally:
            for target in servers:
                if target.process is not None:
                    target.process.kill()
                    target.process.wait()


if __name__ == "__main__":
    main()
