"""``python -m benchmarks.apiserver``: the figures of the embedded Kubernetes API, each with its conditions.

Starts the real server process, bound to one core, on a fresh data directory; the client runs on the other core.
Prints one line a figure and exits 1 when one is missed. ``--quick`` does a tenth of the work (for tests).
Invariant: what is counted was answered with the expected status; durable means SQLite with synchronous=FULL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks._apiserver_load import Client, Endpoint, config_map, rate
from wakeful.kit.kube import read_kubeconfig

COLLECTION = "/api/v1/namespaces/default/configmaps"


class Report:
    """Prints figures and remembers whether one was missed."""

    def __init__(self) -> None:
        self.is_missed = False

    def add(self, name: str, value: float, unit: str, limit: float, at_least: bool, conditions: str) -> None:
        good = value >= limit if at_least else value <= limit
        self.is_missed |= not good
        sign = ">=" if at_least else "<="
        print(
            f"{'ok  ' if good else 'MISS'} {name}: {value:,.1f} {unit} (goal {sign} {limit:,.0f}) [{conditions}]",
            flush=True,
        )


class ServerProcess:
    """The server on one core."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        command = [sys.executable, "-m", "standalone.apiserver", "--data-dir", str(data_dir), "--port", "0"]
        if shutil.which("taskset"):
            command = ["taskset", "-c", "0", *command]
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.started_s = self._wait()

    def _wait(self) -> float:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if '"serving"' in line:
                return time.perf_counter() - self.begun
        raise SystemExit("the server did not start")

    def endpoint(self) -> Endpoint:
        found = read_kubeconfig(self.data_dir / "kubeconfig")
        tls = ssl.create_default_context(cafile=str(self.data_dir / "pki" / "ca.crt"))
        return Endpoint(int(found.server.rpartition(":")[2]), found.token or "", tls)

    def rss_mib(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


async def measure_creates(endpoint: Endpoint, report: Report, count: int) -> None:
    requests = [endpoint.head("POST", COLLECTION, config_map(f"c-{index:06d}")) for index in range(count)]
    per_s, latencies = await rate(endpoint, 16, requests, 201)
    p99_ms = latencies[int(len(latencies) * 0.99)] * 1000
    report.add(
        "durable creates",
        per_s,
        "/s",
        1000,
        True,
        f"{count} ConfigMaps, 16 clients, TLS, p99 {p99_ms:.1f} ms",
    )


async def measure_gets(endpoint: Endpoint, server: ServerProcess, report: Report, count: int) -> None:
    requests = [endpoint.head("GET", f"{COLLECTION}/c-{index % 1000:06d}") for index in range(count)]
    before = server.cpu_s()
    per_s, latencies = await rate(endpoint, 16, requests, 200)
    used_s = server.cpu_s() - before
    p99_ms = latencies[int(len(latencies) * 0.99)] * 1000
    conditions = (
        f"{count} gets, 16 clients, TLS; {per_s:,.0f}/s by the clock of this machine, p99 {p99_ms:.1f} ms"
    )
    report.add("gets on one core", count / used_s, "per CPU second of the server", 5000, True, conditions)


async def measure_idle(endpoint: Endpoint, server: ServerProcess, report: Report, count: int) -> None:
    before = server.rss_mib()
    clients = [Client(endpoint) for _ in range(count)]
    for client in clients:
        await client.open()
    request = endpoint.head("GET", f"{COLLECTION}/c-000001")
    latencies = []
    for client in clients:
        begun = time.perf_counter()
        await client.call(request)
        latencies.append(time.perf_counter() - begun)
    used_mib = server.rss_mib() - before
    for client in clients:
        client.close()
    p99_ms = sorted(latencies)[int(count * 0.99)] * 1000
    conditions = f"{count} idle TLS connections take {used_mib:.0f} MiB"
    report.add("get among idle connections, p99", p99_ms, "ms", 50, False, conditions)


async def measure_list(endpoint: Endpoint, report: Report, count: int) -> None:
    client = Client(endpoint)
    await client.open()
    begun = time.perf_counter()
    body = await client.call(endpoint.head("GET", f"{COLLECTION}?labelSelector=app%3Dbench"))
    took_s = time.perf_counter() - begun
    found = len(json.loads(body)["items"])
    client.close()
    report.add(f"list of {found} objects", took_s, "s", 1, False, f"label selector, {len(body) / 1e6:.1f} MB")
    if found < count:
        raise SystemExit(f"list is incomplete: {found} of {count}")


async def measure_watch(endpoint: Endpoint, report: Report, watchers: int, count: int) -> None:
    path = "/api/v1/namespaces/default/configmaps?watch=true&labelSelector=app%3Dwatched"
    orders: list[list[int]] = [[] for _ in range(watchers)]
    clients = [Client(endpoint) for _ in range(watchers)]
    for client in clients:
        await client.open()
    listing = Client(endpoint)
    await listing.open()
    version = json.loads(await listing.call(endpoint.head("GET", f"{COLLECTION}?limit=1")))["metadata"][
        "resourceVersion"
    ]

    async def follow(client: Client, order: list[int]) -> None:
        def on_line(line: bytes) -> bool:
            order.append(int(json.loads(line)["object"]["metadata"]["resourceVersion"]))
            return len(order) < count

        await client.lines(endpoint.head("GET", f"{path}&resourceVersion={version}"), on_line)

    tasks = [
        asyncio.create_task(follow(client, order)) for client, order in zip(clients, orders, strict=True)
    ]
    bodies = [config_map(f"w-{index}").replace(b"bench", b"watched") for index in range(count)]
    requests = [endpoint.head("POST", COLLECTION, body) for body in bodies]
    begun = time.perf_counter()
    per_s, _ = await rate(endpoint, 16, requests, 201)
    await asyncio.wait_for(asyncio.gather(*tasks), 120)
    took_s = time.perf_counter() - begun
    for client in (*clients, listing):
        client.close()
    good = sum(1 for order in orders if order == sorted(set(order)) and order == orders[0])
    conditions = f"{count} creates at {per_s:.0f}/s, {count * watchers / took_s:,.0f} events/s delivered"
    report.add("watchers that saw every event once and in order", good, "", watchers, True, conditions)


async def measure_churn(endpoint: Endpoint, server: ServerProcess, report: Report, rounds: int) -> None:
    """An hour of a busy small platform is some 36,000 writes (10 a second); a thousand objects live at a time."""

    async def churn(first: int, last: int) -> None:
        for begin in range(first, last, 1000):
            names = [f"churn-{index}" for index in range(begin, min(begin + 1000, last))]
            creates = [endpoint.head("POST", COLLECTION, config_map(name)) for name in names]
            deletes = [endpoint.head("DELETE", f"{COLLECTION}/{name}") for name in names]
            await rate(endpoint, 16, creates, 201)
            await rate(endpoint, 16, deletes, 200)

    warm = rounds
    await churn(0, warm)
    before = server.rss_mib()
    await churn(warm, warm + rounds)
    after = server.rss_mib()
    conditions = f"{rounds} creates and deletes after {warm} to warm up; RSS {before:.0f} -> {after:.0f} MiB"
    report.add("memory growth under churn", after - before, "MiB", 16, False, conditions)


async def measure(server: ServerProcess, scale: int) -> bool:
    report = Report()
    endpoint = server.endpoint()
    report.add(
        "start to serving", server.started_s, "s", 1, False, "new data directory, certificates included"
    )
    await measure_creates(endpoint, report, 10_000 // scale)
    await measure_gets(endpoint, server, report, 30_000 // scale)
    await measure_idle(endpoint, server, report, 1000 // scale)
    await measure_list(endpoint, report, 10_000 // scale)
    await measure_watch(endpoint, report, 200, 1000 // scale)
    await measure_churn(endpoint, server, report, 18_000 // scale)
    return not report.is_missed


def main() -> int:
    """Run all figures; exit status 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    quick = parser.parse_args().quick
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, set(range(1, os.cpu_count() or 2)))
    with tempfile.TemporaryDirectory(prefix="wakeful-bench-") as folder:
        server = ServerProcess(Path(folder))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return 0 if runner.run(measure(server, 10 if quick else 1)) else 1
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
