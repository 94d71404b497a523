"""What `hack/demo` does once the environment is there: every step is checked, and the table at the end is measured.

Starts `wakeful up` on a data directory of its own (.wakeful/demo), trains two real models on scikit-learn's iris data,
applies config/samples with kubectl (or `wakeful apply`), predicts over V1 and V2, sends an event through the broker,
lets the model sleep and wakes it. Exit status 0 only if every answer was the expected one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import train_iris  # beside this file
from aiohttp import web

from standalone import instance
from standalone.layout import Layout
from wakeful.kit.kube import CONFIGMAPS, ApiError, KubeClient, Resource, read_kubeconfig

ROOT = Path(__file__).resolve().parents[1]
DATA_DIR = ROOT / ".wakeful" / "demo"
SAMPLES = ROOT / "config" / "samples"
NAMESPACE = "iris-demo"
NAME = "iris"
SUBSCRIBER_PORT = 8090
ISVC = Resource("serving.kserve.io", "v1beta1", "inferenceservices")
BROKERS = Resource("eventing.knative.dev", "v1", "brokers")
TRIGGERS = Resource("eventing.knative.dev", "v1", "triggers")
PODS = Resource("", "v1", "pods")
GRACE = "6s"
PHASES = ("decide", "start", "import", "load", "probe", "answer")


class DemoError(Exception):
    """A step did not give what it must; the text says which and what came instead."""


class Report:
    """Progress lines as steps end, and the table of measured times."""

    def __init__(self) -> None:
        self._begin = float(os.environ.get("WAKEFUL_DEMO_BEGIN") or time.time())
        self.rows: list[tuple[str, str]] = []

    def line(self, text: str) -> None:
        print(f"[{time.time() - self._begin:6.1f} s] {text}", flush=True)

    def measured(self, label: str, seconds: float) -> None:
        text = f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
        self.rows.append((label, text))

    def table(self) -> None:
        width = max(len(label) for label, _ in self.rows)
        print()
        for label, value in self.rows:
            print(f"  {label:<{width}}  {value:>10}")
        print()


async def main(keep: bool) -> int:
    report = Report()
    layout = Layout(DATA_DIR)
    record = instance.read(layout) if instance.is_locked(layout) else None
    supervisor = None if record is not None else start_platform(layout)
    try:
        if supervisor is not None:
            await until(lambda: kubeconfig_ready(supervisor), 60, "the platform to be ready")
        record = instance.read(layout)
        if record is None:
            raise DemoError(f"`wakeful up` left no record of itself in {DATA_DIR}")
        report.line("platform is up (wakeful up)" if supervisor else "found the platform that was kept")
        async with (
            KubeClient(read_kubeconfig(layout.kubeconfig), "wakeful-demo") as client,
            aiohttp.ClientSession() as web_client,
        ):
            await demonstrate(report, layout, client, Gateway(web_client, record.port))
    except BaseException:
        if supervisor is not None:
            stop_platform(supervisor)
        raise
    report.table()
    if keep or supervisor is None:
        print_next(layout, record.port)
    else:
        stop_platform(supervisor)
        report.line("platform stopped (--keep leaves it running)")
    return 0


async def demonstrate(report: Report, layout: Layout, client: KubeClient, gateway: Gateway) -> None:
    """The steps of the story, in order."""
    expected = train_iris.train(layout.volumes / NAMESPACE / "models")
    report.line("trained two iris models with scikit-learn and put them into the PVC 'models'")
    await remove_leftovers(client)
    # Knative keeps the last pod for 30 s before it lets go; the demo does not wait for that.
    grace = {"data": {"scale-to-zero-grace-period": GRACE}}
    await client.patch(CONFIGMAPS, "knative-serving", "config-autoscaler", grace)
    report.line(
        f"set scale-to-zero-grace-period to {GRACE} (knative-serving/config-autoscaler; Knative's is 30s)"
    )
    async with subscriber() as received:
        applied = time.time()
        apply(layout, SAMPLES / "iris.yaml", SAMPLES / "iris-events.yaml")
        await until(lambda: is_ready(client, ISVC, NAME), 60, "InferenceService iris to be Ready")
        report.measured("apply to Ready", time.time() - applied)
        report.line("InferenceService is Ready")
        begin = time.perf_counter()
        await check_v1(gateway, expected)
        report.measured("first answer", time.perf_counter() - begin)
        await check_v2(gateway, expected)
        report.measured("warm p50", await warm_p50(gateway, expected))
        report.line("V1 and V2 predictions equal scikit-learn's own")
        await until(
            lambda: is_ready(client, TRIGGERS, "iris-predict"), 30, "Trigger iris-predict to be Ready"
        )
        await until(lambda: is_ready(client, TRIGGERS, "iris-result"), 30, "Trigger iris-result to be Ready")
        report.measured("event in to reply out", await send_event(gateway, client, received, expected))
        report.line("event in, prediction event out to the second Trigger's subscriber")
        idle = time.time()
        await until(lambda: has_pods(client, False), 120, "the model to be scaled to zero")
        report.measured("scale-down (idle to no pod)", time.time() - idle)
        report.line("scaled to zero")
        await wake(report, gateway, expected)
        report.line("woke and answered")


class Gateway:
    """Calls through the one port, by Host, so that no name has to resolve."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._base = f"http://127.0.0.1:{port}"

    async def post(
        self, host: str, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> tuple[Any, dict[str, str]]:
        data = json.dumps(body).encode()
        sent = {"Host": host, "Content-Type": "application/json", **(headers or {})}
        async with self._session.post(self._base + path, data=data, headers=sent) as response:
            text = await response.text()
            if response.status >= 300:
                raise DemoError(f"POST {path} at {host} answered {response.status}: {text[:500]}")
            return (json.loads(text) if text else None), dict(response.headers)


async def check_v1(gateway: Gateway, expected: tuple[list[list[float]], list[int]]) -> dict[str, str]:
    rows, classes = expected
    answer, headers = await gateway.post(
        f"{NAME}.{NAMESPACE}.localhost", f"/v1/models/{NAME}:predict", {"instances": rows}
    )
    if answer["predictions"] != classes:
        raise DemoError(f"V1 answered {answer}, scikit-learn says {classes}")
    return headers


async def check_v2(gateway: Gateway, expected: tuple[list[list[float]], list[int]]) -> None:
    rows, classes = expected
    tensor = {"name": "input-0", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": rows}
    path = f"/v2/models/{NAME}/infer"
    answer, _ = await gateway.post(f"{NAME}.{NAMESPACE}.localhost", path, {"inputs": [tensor]})
    if answer["outputs"][0]["data"] != classes:
        raise DemoError(f"V2 answered {answer}, scikit-learn says {classes}")


async def warm_p50(gateway: Gateway, expected: tuple[list[list[float]], list[int]]) -> float:
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        await check_v1(gateway, expected)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


async def send_event(
    gateway: Gateway, client: KubeClient, received: asyncio.Queue[tuple[dict[str, str], Any]], expected: Any
) -> float:
    """Post a CloudEvent to the broker's own address; wait for the reply event at the subscriber."""
    rows, classes = expected
    broker = await client.get(BROKERS, NAMESPACE, "default")
    host, _, path = broker["status"]["address"]["url"].removeprefix("http://").partition("/")
    identity = str(uuid.uuid4())
    headers = {
        "ce-specversion": "1.0",
        "ce-id": identity,
        "ce-source": "/demo",
        "ce-type": "com.example.iris.measured",
    }
    begin = time.perf_counter()
    await gateway.post(host, "/" + path, {"instances": rows}, headers)
    async with asyncio.timeout(30):
        headers, body = await received.get()
    took = time.perf_counter() - begin
    if headers.get("ce-type") != "io.kserve.inference.response" or body.get("predictions") != classes:
        raise DemoError(f"the reply event was {headers} {body}, wanted predictions {classes}")
    return took


async def wake(report: Report, gateway: Gateway, expected: Any) -> None:
    """Call the sleeping model; the phases are in its own answer."""
    begin = time.perf_counter()
    headers = await check_v1(gateway, expected)
    report.measured("wake, total", time.perf_counter() - begin)
    timing = headers.get("Server-Timing", "")
    phases = dict(part.strip().split(";dur=") for part in timing.split(",") if ";dur=" in part)
    missing = [phase for phase in PHASES if phase not in phases]
    if missing:
        raise DemoError(f"the woken answer's Server-Timing lacks {missing}: {timing!r}")
    for phase in PHASES:
        report.measured(f"wake: {phase}", float(phases[phase]) / 1000)


@contextlib.asynccontextmanager
async def subscriber() -> AsyncIterator[asyncio.Queue[tuple[dict[str, str], Any]]]:
    """A plain HTTP service, as anybody would write one, that the second Trigger delivers to."""
    received: asyncio.Queue[tuple[dict[str, str], Any]] = asyncio.Queue(100)

    async def accept(request: web.Request) -> web.Response:
        received.put_nowait(
            ({key.lower(): value for key, value in request.headers.items()}, await request.json())
        )
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/{path:.*}", accept)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", SUBSCRIBER_PORT).start()
    try:
        yield received
    finally:
        await runner.cleanup()


async def is_ready(client: KubeClient, resource: Resource, name: str) -> str | None:
    """None when Ready for the present generation, else what it says."""
    obj = await client.find(resource, NAMESPACE, name)
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    ready = next((entry for entry in conditions if entry["type"] == "Ready"), {})
    return (
        None
        if ready.get("status") == "True"
        else f"{ready.get('reason', 'no status yet')}: {ready.get('message', '')}"
    )


async def has_pods(client: KubeClient, wanted: bool) -> str | None:
    """None when the model has pods (or has none), as wanted."""
    pods = await client.list(PODS, NAMESPACE, labelSelector=f"serving.kserve.io/inferenceservice={NAME}")
    names = [pod["metadata"]["name"] for pod in pods["items"]]
    return None if bool(names) == wanted else f"pods: {names}"


async def remove_leftovers(client: KubeClient) -> None:
    """Start from nothing, so that the demo can be repeated: delete the namespace of the last run and wait."""

    async def gone() -> str | None:
        found = await client.find(Resource("", "v1", "namespaces", False), None, NAMESPACE)
        return f"still {found['status']}" if found else None

    await client.delete(Resource("", "v1", "namespaces", False), None, NAMESPACE)
    await until(gone, 60, "the namespace of the last run to be gone")


async def until(check: Callable[[], Awaitable[str | None]], limit_s: float, what: str) -> None:
    """Wait until ``check`` returns None; its last words are in the error."""
    deadline = time.monotonic() + limit_s
    words: str | None = "not asked yet"
    while time.monotonic() < deadline:
        try:
            words = await check()
        except (aiohttp.ClientError, ApiError, OSError) as error:
            words = repr(error)
        if words is None:
            return
        await asyncio.sleep(0.02)
    raise DemoError(f"waited {limit_s:.0f} s for {what}: {words}")


async def kubeconfig_ready(supervisor: subprocess.Popen[bytes]) -> str | None:
    if supervisor.poll() is not None:
        raise DemoError(f"`wakeful up` ended: {(DATA_DIR / 'up.log').read_text()[-1000:]}")
    return None if "is ready" in (DATA_DIR / "up.log").read_text() else "`wakeful up` has not said so yet"


def start_platform(layout: Layout) -> subprocess.Popen[bytes]:
    layout.make()
    ports = choose_ports()
    flags = ["--port", str(ports[0]), "--api-port", str(ports[1]), "--webhook-port", str(ports[2])]
    with (DATA_DIR / "up.log").open("wb") as log:
        command = [str(ROOT / ".venv/bin/wakeful"), "up", "--data-dir", str(DATA_DIR), *flags]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def stop_platform(supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(60)


def choose_ports() -> tuple[int, int, int]:
    """The usual ports where they are free, else free ones."""
    return free_port(8080), free_port(6443), free_port(9443)


def free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DemoError("no free port on 127.0.0.1")


def apply(layout: Layout, *files: Path) -> None:
    """kubectl where it is installed, as a user would; else `wakeful apply`."""
    kubectl = shutil.which("kubectl")
    names = [argument for file in files for argument in ("-f", str(file))]
    own = [str(ROOT / ".venv/bin/wakeful"), "apply", "--data-dir", str(DATA_DIR), *names]
    command = [kubectl, "apply", *names] if kubectl else own
    done = subprocess.run(
        command,
        env={**os.environ, "KUBECONFIG": str(layout.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    print("\n".join(f"           {line}" for line in done.stdout.splitlines()), flush=True)
    if done.returncode:
        raise DemoError(f"{' '.join(command[:2])} failed: {done.stderr.strip()}")


def print_next(layout: Layout, port: int) -> None:
    print(f"""It is still running. Try:

    export KUBECONFIG={layout.kubeconfig}
    kubectl get isvc,ksvc,pods -n {NAMESPACE}
    curl -i http://{NAME}.{NAMESPACE}.localhost:{port}/v1/models/{NAME}:predict -d '{{"instances": [[5.1, 3.5, 1.4, 0.2]]}}'
    kubectl apply -f config/samples/iris-canary.yaml
    .venv/bin/wakeful status --data-dir {DATA_DIR}
    .venv/bin/wakeful down --data-dir {DATA_DIR}
""")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="leave the platform running and print what to try next"
    )
    try:
        sys.exit(asyncio.run(main(parser.parse_args().keep)))
    except DemoError as error:
        print(f"hack/demo: {error}", file=sys.stderr)
        sys.exit(1)
