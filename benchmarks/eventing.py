"""Measure the event path: durable events a second with 16 clients, and event in to reply out through a model.

    .venv/bin/python -m benchmarks.eventing [--seconds 4] [--clients 16]

Starts a whole platform (`wakeful up`) in a temporary folder, with the iris sample and three Triggers. The client writes
ready-made requests over plain sockets, so that it costs little of the machine it measures. "direct" is the socket of the
event process, "gateway" the platform's port. Every accepted event was synced to disk before its 202. One JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
import yaml

from benchmarks._eventing_ends import Client, Subscriber, head
from benchmarks._ports import free_port
from standalone import instance
from standalone.layout import Layout

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "bench"
MODEL = {"ref": {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "iris"}}
BODY = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'


def wakeful(*arguments: str, text: str = "") -> str:
    """Run the command; its output. Exits when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "wakeful.cli", *arguments],
        cwd=ROOT,
        input=text,
        text=True,
        capture_output=True,
    )
    if done.returncode:
        sys.exit(f"wakeful {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def start(layout: Layout, port: int) -> subprocess.Popen[bytes]:
    """`wakeful up`, waited for."""
    layout.make()
    flags = {"--port": port, "--api-port": free_port(), "--webhook-port": free_port()}
    command = [sys.executable, "-m", "wakeful.cli", "up", "--data-dir", str(layout.data_dir)]
    path = layout.data_dir / "up.log"
    with path.open("wb") as log:
        running = subprocess.Popen(
            [*command, *(str(part) for flag in flags.items() for part in flag)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 60
    while "is ready" not in path.read_text():
        if running.poll() is not None or time.monotonic() > deadline:
            sys.exit(path.read_text())
        time.sleep(0.05)
    return running


def manifests(subscriber_port: int) -> str:
    """The iris sample kept warm, two Brokers and their Triggers."""
    iris = (ROOT / "config/samples/iris.yaml").read_text().replace("iris-demo", NAMESPACE)
    uri = {"uri": f"http://127.0.0.1:{subscriber_port}/"}
    documents = [made("Broker", name, {}) for name in ("plain", "quiet", "model")]
    for name, broker, type_, subscriber in (
        ("plain", "plain", "load", uri),
        ("quiet", "quiet", "load", {"uri": "http://127.0.0.1:1/"}),
        ("predict", "model", "measured", MODEL),
        ("result", "model", "io.kserve.inference.response", uri),
    ):
        spec = {"broker": broker, "filter": {"attributes": {"type": type_}}, "subscriber": subscriber}
        documents.append(made("Trigger", name, spec))
    return iris.replace("minReplicas: 0", "minReplicas: 1") + "\n---\n" + yaml.safe_dump_all(documents)


def made(kind: str, name: str, spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "eventing.knative.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}


async def accepted(address: Callable[[], Any], broker: str, options: argparse.Namespace) -> dict[str, float]:
    """Events a second that got 202, and how long one took."""
    began = time.perf_counter()
    clients = [Client(number, f"/{NAMESPACE}/{broker}") for number in range(options.clients)]
    await asyncio.gather(*(client.run(address, began + options.seconds) for client in clients))
    took = time.perf_counter() - began
    latencies = sorted(value for client in clients for value in client.latencies_s)
    return {
        "events_per_s": round(len(latencies) / took),
        "p50_ms": round(statistics.median(latencies) * 1000, 2),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 2),
        "refused": sum(client.refused for client in clients),
    }


async def round_trips(address: Callable[[], Any], subscriber: Subscriber, count: int) -> dict[str, float]:
    """Event in to the model's answer at the second subscriber, one after the other."""
    reader, writer = await address()
    times = []
    for number in range(count):
        subscriber.expect()
        began = time.perf_counter()
        extra = "content-type: application/json\r\n"
        writer.write(head(f"/{NAMESPACE}/model", f"m{number}", "measured", len(BODY), extra) + BODY)
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(20):
            await subscriber.arrived.wait()
        times.append(time.perf_counter() - began)
    writer.close()
    times.sort()
    return {
        "p50_ms": round(statistics.median(times) * 1000, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 2),
        "events": count,
    }


def cpu_s(pid: int) -> float:
    """What a process has used so far; unlike time, it hardly depends on who else is on the machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(layout: Layout, port: int, subscriber: Subscriber, options: argparse.Namespace) -> Any:
    def through_gateway() -> Any:
        return asyncio.open_connection("127.0.0.1", port)

    def direct() -> Any:
        return asyncio.open_unix_connection(str(layout.socket("eventing")))

    record = instance.read(layout)
    pid = record.processes["eventing"].pid if record else 0
    await round_trips(through_gateway, subscriber, 20)
    trips = await round_trips(through_gateway, subscriber, 300)
    subscriber.count, before_s = 0, cpu_s(pid)
    began = time.perf_counter()
    plain = await accepted(through_gateway, "plain", options)
    wanted = plain["events_per_s"] * options.seconds
    while subscriber.count < wanted * 0.99 and time.perf_counter() - began < 60:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    delivered = subscriber.count / (time.perf_counter() - began)
    plain["cpu_ms_per_event_in_and_out"] = round((cpu_s(pid) - before_s) * 1000 / max(subscriber.count, 1), 3)
    before_s = cpu_s(pid)
    quiet = await accepted(direct, "quiet", options)
    quiet["cpu_ms_per_event"] = round(
        (cpu_s(pid) - before_s) * 1000 / (quiet["events_per_s"] * options.seconds), 3
    )
    status = Path(f"/proc/{pid}/status").read_text()
    return {
        "conditions": {"cpus": os.cpu_count(), "clients": options.clients, "seconds": options.seconds},
        "event_in_to_reply_out": trips,
        "accepted_direct_subscriber_down": quiet,
        "accepted_through_gateway_while_delivering": plain,
        "delivered_per_s_to_one_trigger": round(delivered),
        "eventing_peak_rss_mb": next(
            int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")
        ),
    }


async def run(layout: Layout, options: argparse.Namespace) -> None:
    port = free_port()
    subscriber = Subscriber()
    server = await asyncio.get_running_loop().create_server(subscriber.protocol, "127.0.0.1", 0)
    running = start(layout, port)
    try:
        text = manifests(server.sockets[0].getsockname()[1])
        where = ("--data-dir", str(layout.data_dir))
        manifest = layout.data_dir / "bench.yaml"
        manifest.write_text(text)
        wakeful("apply", *where, "-f", str(manifest))
        await wait_ready(layout, port)
        print(json.dumps(await measure(layout, port, subscriber, options), indent=1))
    finally:
        running.terminate()
        running.wait(30)
        server.close()


async def wait_ready(layout: Layout, port: int) -> None:
    """Until the model answers; the Triggers are ready long before."""
    deadline = time.monotonic() + 60
    path = "/v1/models/iris:predict"
    while time.monotonic() < deadline:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = (
            f"POST {path} HTTP/1.1\r\nhost: iris.{NAMESPACE}.localhost\r\ncontent-length: {len(BODY)}\r\n\r\n"
        )
        writer.write(lines.encode() + BODY)
        answer = await reader.readline()
        writer.close()
        if b" 200 " in answer:
            return
        await asyncio.sleep(0.2)
    sys.exit(
        f"the model did not get ready within 60 s: {wakeful('status', '--data-dir', str(layout.data_dir))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wk-bench-"))
    train = [sys.executable, "hack/train_iris.py", str(folder / "volumes" / NAMESPACE / "models")]
    try:
        subprocess.run(train, cwd=ROOT, check=True, stdout=sys.stderr)
        uvloop.run(run(Layout(folder), options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
