"""Measure what the gateway adds: requests a second on one core, and latency against a direct call.

    .venv/bin/python benchmarks/gateway.py [--seconds 3] [--connections 32]

Three processes, each on its own core where the machine has them: a trivial upstream, the gateway (its data path with
one fixed revision, no API server), and this one as the client. Load generator and upstream are the same few lines of
asyncio, so the direct figure bounds what the client can do. Prints one JSON object.
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
    while True:
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
        client = Client(b"m.ns.localhost", began + seconds, pause_s)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    took = time.perf_counter() - began
    latencies = sorted(latency for client in clients for latency in client.latencies)
    return {
        "requests_per_s": round(len(latencies) / took),
        "p50_ms": round(statistics.median(latencies) * 1000, 3),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 3),
    }


def start(target: Callable[[Connection], Any], core: int) -> tuple[multiprocessing.Process, Connection]:
    ours, theirs = multiprocessing.Pipe()

    def run() -> None:
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})
        uvloop.run(target(theirs))

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    return process, ours


async def measure(
    direct: int, through: int, gateway: Connection, options: argparse.Namespace
) -> dict[str, Any]:
    await load(through, 4, 0.5)
    quiet_direct = await load(direct, 1, options.seconds, 0.005)
    quiet_through = await load(through, 1, options.seconds, 0.005)
    gateway.send(None)
    before = gateway.recv()
    full = await load(through, options.connections, options.seconds)
    gateway.send(None)
    after = gateway.recv()
    return {
        "conditions": {
            "cpus": os.cpu_count(),
            "seconds": options.seconds,
            "connections": options.connections,
        },
        "one_client_direct": quiet_direct,
        "one_client_through_gateway": quiet_through,
        "added_p50_ms": round(quiet_through["p50_ms"] - quiet_direct["p50_ms"], 3),
        "full_load_direct": await load(direct, options.connections, options.seconds),
        "full_load_through_gateway": full,
        "gateway_cpu_s_per_s": round((after[0] - before[0]) / options.seconds, 2),
        "gateway_requests_per_cpu_s": round(
            full["requests_per_s"] * options.seconds / (after[0] - before[0])
        ),
        "gateway_rss_mb": round(after[1] / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    upstream, up = start(serve_upstream, 1)
    direct = up.recv()
    gateway, gate = start(serve_gateway, 0)
    gate.send(direct)
    through = gate.recv()
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    try:
        print(json.dumps(uvloop.run(measure(direct, through, gate, options)), indent=2))
    finally:
        upstream.kill()
        gateway.kill()


if __name__ == "__main__":
    main()
