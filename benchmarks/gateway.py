"""Measure what the gateway adds: latency against a direct call, and CPU time a request on one core.

    .venv/bin/python -m benchmarks.gateway [--rounds 10] [--connections 32]

Three processes: a trivial upstream, the gateway (its data path with one fixed revision, no API server), and this one as
the client. Load generator and upstream are the same few lines of asyncio, so the direct figure bounds what the client
can do. Direct and through the gateway are measured in turn, in short windows of one run, so that both meet the same
machine. On a machine that does other work too, latencies of the quietest window (``best``) and CPU time a request are
what says something about the gateway; the load average is printed with them. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import uvloop

BODY = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
WINDOW_S = 0.4
ANSWER = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{"predictions": [0]}'
)


class Upstream(asyncio.Protocol):
    """Answers every complete request (counted by the body it knows) at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        count = self.buffer.count(BODY)
        if count:
            self.buffer = self.buffer.rpartition(BODY)[2]
            self.transport.write(ANSWER * count)


async def serve_upstream(report: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    report.send(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


async def serve_gateway(report: Connection) -> None:
    from activator_hooks.ports import WakeDecision
    from standalone.gateway.engine import Engine
    from standalone.gateway.fleet import Fleet
    from standalone.gateway.front import Front
    from standalone.gateway.measures import Measures
    from standalone.gateway.pods_pool import Address, Pool
    from standalone.gateway.settings import Limits

    class NoWaker:
        async def wake(self, namespace: str, revision: str) -> WakeDecision:
            return WakeDecision(1, "bench", time.time())

    limits = Limits()
    fleet = Fleet(limits, NoWaker())
    engine = Engine(fleet, limits, Pool(Address(path="/nowhere"), limits), Measures())
    front = Front(limits, engine.serve)
    port = int(report.recv())
    metadata = {"namespace": "ns", "name": "m", "uid": "p"}
    split = {"serviceName": "r1", "serviceNamespace": "ns", "percent": 100}
    rule = {"hosts": ["m.ns.localhost"], "http": {"paths": [{"splits": [split]}]}}
    fleet.on_ingress("ADDED", {"metadata": metadata, "spec": {"rules": [rule]}}, None)
    fleet.on_revision(
        "ADDED", {"metadata": {"namespace": "ns", "name": "r1"}, "spec": {"containers": [{}]}}, None
    )
    note = {
        "node.wakeful.dev/ports": json.dumps({"8080": port}),
        "node.wakeful.dev/timeline": '{"started": 1}',
    }
    pod = {**metadata, "labels": {"serving.knative.dev/revision": "r1"}, "annotations": note}
    fleet.on_pod("ADDED", {"metadata": pod, "status": {"podIP": "127.0.0.1"}}, None)
    fleet.mark_synced()
    report.send(await front.listen(0))
    ticks = asyncio.gather(fleet.run_ticks(), front.run_sweep())
    while not ticks.done():
        await asyncio.get_running_loop().run_in_executor(None, report.recv)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        report.send((usage.ru_utime + usage.ru_stime, usage.ru_maxrss))
    await ticks


class Client(asyncio.Protocol):
    """One connection that asks again and again; notes each latency."""

    def __init__(self, host: bytes, stop_at: float, pause_s: float) -> None:
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n" % host
        self.request = head + b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
        self.stop_at = stop_at
        self.pause_s = pause_s
        self.latencies: list[float] = []
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.ask()

    def ask(self) -> None:
        self.buffer = b""
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.buffer.endswith(b'{"predictions": [0]}'):
            return
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"unexpected answer: {self.buffer[:200]!r}")
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        if now > self.stop_at:
            self.transport.close()
            self.done.set_result(None)
        elif self.pause_s:
            self.loop.call_later(self.pause_s, self.ask)
        else:
            self.ask()


async def load(port: int, connections: int, seconds: float, pause_s: float = 0.0) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: Client(b"m.ns.localhost", began + seconds, pause_s), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    took = time.perf_counter() - began
    latencies = sorted(latency for client in clients for latency in client.latencies)
    return {
        "requests": len(latencies),
        "requests_per_s": round(len(latencies) / took),
        "p50_ms": round(statistics.median(latencies) * 1000, 3),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 3),
    }


def start(
    target: Callable[[Connection], Any], core: int | None
) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    ours, theirs = multiprocessing.Pipe()

    def run() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})
        uvloop.run(target(theirs))

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    return process, ours


def summarise(windows: list[dict[str, float]]) -> dict[str, float]:
    """The quietest window and the median of all."""
    best = min(windows, key=lambda window: window["p50_ms"])
    out = {f"best_{name}": value for name, value in best.items()}
    for name in best:
        out[f"median_{name}"] = round(statistics.median(window[name] for window in windows), 3)
    return out


async def measure(
    direct: int, through: int, gateway: Connection, options: argparse.Namespace
) -> dict[str, Any]:
    """One client with pauses (latency), then ``--connections`` without (cost), direct and through in turn."""

    def usage() -> tuple[float, float]:
        gateway.send(None)
        seconds, peak = gateway.recv()
        return float(seconds), float(peak)

    await load(through, 4, 0.5)
    quiet: dict[int, list[dict[str, float]]] = {direct: [], through: []}
    full: dict[int, list[dict[str, float]]] = {direct: [], through: []}
    costs: list[float] = []
    for _ in range(options.rounds):
        for port in (direct, through):
            quiet[port].append(await load(port, 1, WINDOW_S, 0.002))
        full[direct].append(await load(direct, options.connections, WINDOW_S))
        before = usage()[0]
        full[through].append(await load(through, options.connections, WINDOW_S))
        costs.append((usage()[0] - before) / full[through][-1]["requests"])
    alone, behind = summarise(quiet[direct]), summarise(quiet[through])
    return {
        "conditions": {
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "rounds": options.rounds,
            "pinned": options.pin,
            "window_s": WINDOW_S,
            "connections": options.connections,
        },
        "one_client_direct": alone,
        "one_client_through_gateway": behind,
        "added_best_p50_ms": round(behind["best_p50_ms"] - alone["best_p50_ms"], 3),
        "added_median_p50_ms": round(behind["median_p50_ms"] - alone["median_p50_ms"], 3),
        "full_load_direct": summarise(full[direct]),
        "full_load_through_gateway": summarise(full[through]),
        "gateway_cpu_us_a_request": {
            "best": round(min(costs) * 1e6, 1),
            "median": round(statistics.median(costs) * 1e6, 1),
        },
        "gateway_requests_per_cpu_s": round(1 / statistics.median(costs)),
        "gateway_rss_mb": round(usage()[1] / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument(
        "--pin", action="store_true", help="one core each; for a machine that does nothing else"
    )
    options = parser.parse_args()
    upstream, up = start(serve_upstream, 1 if options.pin else None)
    direct = up.recv()
    gateway, gate = start(serve_gateway, 0 if options.pin else None)
    gate.send(direct)
    through = gate.recv()
    if options.pin:
        os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    try:
        print(json.dumps(uvloop.run(measure(direct, through, gate, options)), indent=2))
    finally:
        upstream.kill()
        gateway.kill()


if __name__ == "__main__":
    main()
