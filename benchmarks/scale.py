"""The controller at 10,000 InferenceServices: what it writes, what it holds, how it starts again. Seeded.

    hack/bench scale                 .venv/bin/python -m benchmarks.scale [--services 10000] [--seed 7] [--json]
                                     ... --seeded: make them without the controller, then let it start on them

Starts the real embedded API server and the real controller in a temporary folder, and a fake Knative (``_scale_knative``)
that writes only what Knative and Kourier would, with seeded delays. Phases: create all and wait until all are Ready;
rest; the controller started again; one ClusterServingRuntime changed, which changes every predictor. Exits 1 when the
controller writes at rest or after its restart, or when not all become Ready. The counts do not depend on the machine's
load; the seconds do. By processor time some 15 minutes for
10,000 on two quiet cores (computed: 0.09 s each to create, as much again to change), so begin with --services 1000.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import _scale_measure as measure
from benchmarks import _scale_world as world
from benchmarks._ports import free_port
from benchmarks._scale_seed import seed
from standalone.install import install
from standalone.layout import Layout
from standalone.processes import OPERATOR_NAMESPACE, Options
from wakeful.kit.informer import Informer
from wakeful.kit.kube import NAMESPACES, ApiError, KubeClient, Obj, Resource, key_of, read_kubeconfig

ISVC = Resource("serving.kserve.io", "v1beta1", "inferenceservices")
RUNTIMES = Resource("serving.kserve.io", "v1alpha1", "clusterservingruntimes", namespaced=False)
RUNTIME = "kserve-sklearnserver"
FEEDERS = 8
QUIET_S = 6.0
"""So long without a stored write means that everybody is done; the longest pause of the fake Knative's is 15 s, but in
a phase with more than some ten objects pauses overlap."""
DEADLINE_S = 3600.0


@dataclass
class Watcher:
    """What a user's watch on all InferenceServices sees."""

    ready_at: dict[tuple[str, str], int] = field(default_factory=dict)
    """The generation of the predictor that was Ready last: 0 while it is not Ready."""
    events: int = 0

    def seen(self, how: str, obj: Obj, old: Obj | None) -> None:
        self.events += 1
        status = obj.get("status") or {}
        is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
        predictor = (status.get("components") or {}).get("predictor") or {}
        revision = str(predictor.get("latestReadyRevision") or "-0")
        self.ready_at[key_of(obj)] = int(revision.rpartition("-")[2]) if is_ready else 0

    def count(self, revision: int) -> int:
        return sum(1 for found in self.ready_at.values() if found >= revision)


class Rig:
    """The processes of one run."""

    def __init__(
        self, layout: Layout, client_of: Callable[[], KubeClient], options: argparse.Namespace
    ) -> None:
        self.layout, self.options, self.client_of = layout, options, client_of
        self.watcher = Watcher()
        self.webhook_port = free_port()
        self.controller: subprocess.Popen[bytes] | None = None
        self.apiserver: subprocess.Popen[bytes] | None = None

    def spawn(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        log = (self.layout.data_dir / f"{name}.log").open("ab")
        return subprocess.Popen([sys.executable, "-m", *argv], stdout=log, stderr=log)

    def start_controller(self) -> None:
        flags = ["--kubeconfig", str(self.layout.kubeconfig), "--namespace", OPERATOR_NAMESPACE]
        flags += ["--webhook-listen", f"tcp:127.0.0.1:{self.webhook_port}"]
        flags += ["--admin", f"unix:{self.layout.socket('controller')}", "--log-level", "warning"]
        self.controller = self.spawn("controller", "controller", *flags)

    async def snapshot(self) -> measure.Snapshot:
        assert self.controller is not None
        assert self.apiserver is not None
        return await measure.take(self.controller.pid, self.apiserver.pid, self.layout.run)

    async def until(self, claim: Callable[[], bool], what: str) -> float:
        """Seconds until ``claim`` holds."""
        begin = told = time.monotonic()
        while not claim():
            now = time.monotonic()
            if now - begin > DEADLINE_S:
                raise SystemExit(f"after {DEADLINE_S:g} s still waiting until {what}")
            if now - told > 15:
                told = now
                print(
                    f"   ... {now - begin:.0f} s: {self.watcher.count(1)}, {self.watcher.count(2)} Ready",
                    flush=True,
                )
            await asyncio.sleep(0.1)
        return time.monotonic() - begin

    async def quiet(self) -> measure.Snapshot:
        """The first snapshot after which nothing was stored and nothing reconciled for ``QUIET_S``."""
        last = await self.snapshot()
        while True:
            await asyncio.sleep(1.0)
            now = await self.snapshot()
            if (now.version, now.reconciles) != (last.version, last.reconciles):
                last = now
            elif now.at_s - last.at_s >= QUIET_S:
                return last


@contextlib.asynccontextmanager
async def rig_of(options: argparse.Namespace) -> AsyncIterator[tuple[Rig, KubeClient]]:
    """The API server with everything installed, the fake Knative and the controller."""
    with tempfile.TemporaryDirectory(prefix="wakeful-scale-") as name:
        layout = Layout(Path(name))
        layout.make()
        rig = Rig(layout, lambda: KubeClient(read_kubeconfig(layout.kubeconfig), "bench", 60), options)
        port = free_port()
        rig.apiserver = rig.spawn(
            "apiserver", "standalone.apiserver", "--data-dir", name, "--port", str(port)
        )
        processes = [rig.apiserver]
        try:
            await rig.until(
                lambda: '"serving"' in (layout.data_dir / "apiserver.log").read_text(), "the API serves"
            )
            async with rig.client_of() as client:
                await install(client, Options(webhook_port=rig.webhook_port))
                await make_namespaces(client)
                if options.seeded:
                    seconds = await seed(client, layout.kubeconfig, options.services, options.seed)
                    print(f"{options.services} made without the controller in {seconds:.0f} s", flush=True)
                flags = ["--kubeconfig", str(layout.kubeconfig), "--seed", str(options.seed)]
                flags += ["--without-pods"] if options.without_pods else []
                processes.append(rig.spawn("knative", "benchmarks._scale_knative", *flags))
                rig.start_controller()
                await wait_healthy(rig)
                watching = asyncio.create_task(Informer(client, ISVC, rig.watcher.seen).run())
                yield rig, client
                watching.cancel()
        finally:
            for process in (*([rig.controller] if rig.controller else []), *reversed(processes)):
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(process.wait, 30)
            if options.keep_logs:
                for log in layout.data_dir.glob("*.log"):
                    Path(options.keep_logs, log.name).write_bytes(log.read_bytes())


async def wait_healthy(rig: Rig) -> float:
    """Seconds until the controller watches."""
    begin = time.monotonic()
    while "wakeful_reconcile" not in await measure.scrape(
        rig.layout.socket("controller")
    ) or not await healthy(rig):
        if time.monotonic() - begin > 600:
            raise SystemExit("the controller is not ready after 600 s")
        await asyncio.sleep(0.1)
    return time.monotonic() - begin


async def healthy(rig: Rig) -> bool:
    import aiohttp

    connector = aiohttp.UnixConnector(str(rig.layout.socket("controller")))
    async with aiohttp.ClientSession(connector=connector) as http, http.get("http://admin/healthz") as answer:
        return answer.status == 200


async def feed(client: KubeClient, first: int, last: int) -> None:
    """Create the InferenceServices ``first`` to ``last``, in order, ``FEEDERS`` at a time."""
    numbers = iter(range(first, last))

    async def work() -> None:
        for number in numbers:
            await client.create(ISVC, world.namespace_of(number), world.build_service(number))

    async with asyncio.TaskGroup() as group:
        for _ in range(FEEDERS):
            group.create_task(work())


async def make_namespaces(client: KubeClient) -> None:
    for number in range(world.NAMESPACES):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace_of(number)}}
        with contextlib.suppress(ApiError):
            await client.create(NAMESPACES, None, body)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All phases; what was found."""
    found: dict[str, Any] = {"services": options.services, "seed": options.seed}
    async with rig_of(options) as (rig, client):
        begin = await rig.quiet()
        if options.seeded:
            found["first start"] = show("first start", measure.since_start(begin), options.services)
        else:
            found["nothing"] = held(begin)
            begin = await create_all(rig, client, begin, found)
        await asyncio.sleep(options.rest_s)
        found["rest"] = show("rest", measure.between(begin, await rig.snapshot()))
        found["restart"] = await restart(rig)
        if not options.seeded:
            found["one runtime changed"] = await change(rig, client, await rig.quiet())
    return found


async def create_all(rig: Rig, client: KubeClient, begin: measure.Snapshot, found: Obj) -> measure.Snapshot:
    """Up to 100, up to 1,000, up to all; the snapshot when the last pod is gone."""
    total, done = rig.options.services, 0
    for step in sorted({min(100, total), min(1000, total), total}):
        found[f"create up to {step}"] = await create(rig, client, begin, done, step)
        done, begin = step, await rig.quiet()
    await asyncio.sleep(16)  # the longest life of a pod
    return await rig.quiet()


async def create(rig: Rig, client: KubeClient, begin: measure.Snapshot, first: int, last: int) -> Obj:
    started, events = time.monotonic(), rig.watcher.events
    await feed(client, first, last)
    fed_s = time.monotonic() - started
    await rig.until(lambda: rig.watcher.count(1) >= last, f"{last} are Ready")
    ready_s = time.monotonic() - started
    end = await rig.quiet()
    shown = show(f"create {first} to {last}", measure.between(begin, end), last - first)
    shown |= {"fed_s": round(fed_s, 1), "all_ready_s": round(ready_s, 1)}
    return shown | {"watch_events_each": round((rig.watcher.events - events) / (last - first), 2)}


async def restart(rig: Rig) -> Obj:
    assert rig.controller is not None
    begin = await rig.snapshot()
    rig.controller.send_signal(signal.SIGTERM)
    await asyncio.to_thread(rig.controller.wait, 30)
    started = time.monotonic()
    rig.start_controller()
    await wait_healthy(rig)
    watching_s = time.monotonic() - started
    end = await rig.quiet()
    shown = show("restart", measure.between(begin, end, is_restarted=True))
    return shown | {"watching_s": round(watching_s, 1), "settled_s": round(end.at_s - started, 1)}


async def change(rig: Rig, client: KubeClient, begin: measure.Snapshot) -> Obj:
    """Add an environment variable to the runtime of all."""
    started = time.monotonic()
    runtime = await client.get(RUNTIMES, None, RUNTIME)
    container = runtime["spec"]["containers"][0]
    container["env"] = [*(container.get("env") or []), {"name": "CHANGED", "value": "yes"}]
    await client.replace(RUNTIMES, None, runtime)
    await rig.until(
        lambda: rig.watcher.count(2) >= rig.options.services, "all are Ready at their second revision"
    )
    ready_s = time.monotonic() - started
    shown = show("one runtime changed", measure.between(begin, await rig.quiet()), rig.options.services)
    return shown | {"all_ready_s": round(ready_s, 1)}


def held(now: measure.Snapshot) -> Obj:
    """Memory of the two processes, MiB."""
    return {
        "controller_mib": round(now.controller.rss_mib),
        "controller_peak_mib": round(now.controller.peak_mib),
        "apiserver_mib": round(now.apiserver.rss_mib),
    }


def show(name: str, span: measure.Span, services: int = 0) -> Obj:
    """Print one phase as a block of lines, and return it."""
    writes = sum(span.writes.values())
    shown: Obj = {
        "seconds": round(span.seconds, 1),
        "stored_by_all": span.stored,
        "controller_writes": writes,
        "controller_writes_per_s": round(writes / span.seconds, 1),
        "reconciles": span.reconciles,
        "by_kind": dict(span.writes.most_common()),
        "refused": dict(span.refused.most_common()),
        "controller_cpu_s": round(span.controller_cpu_s, 1),
        "apiserver_cpu_s": round(span.apiserver_cpu_s, 1),
        **held(span.end),
    }
    if services:
        shown["controller_writes_each"] = round(writes / services, 2)
        shown["reconciles_each"] = round(span.reconciles / services, 2)
    print(f"{name}: {json.dumps(shown)}", flush=True)
    return shown


def judge(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    problems = []
    for phase in ("first start", "rest", "restart"):
        if phase not in found:
            continue
        written = {kind: count for kind, count in found[phase]["by_kind"].items() if not _is_own(kind)}
        if written:
            problems.append(f"{phase}: the controller wrote {written}")
    first = next((value for name, value in found.items() if name.startswith("create")), None)
    if first is not None and first["controller_peak_mib"] > 120:
        problems.append(
            f"the controller held {first['controller_peak_mib']} MiB with 100 (goal: at most 120)"
        )
    return problems


def _is_own(kind: str) -> bool:
    """Whether a write is about the controller itself: a fixed number at a start, whatever there is to serve."""
    return any(
        part in kind for part in ("admissionregistration", "leases", "events", "clusterservingruntimes")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seeded", action="store_true", help="only: start on all of them, rest, start again")
    parser.add_argument("--rest-s", type=float, default=60.0, help="how long to watch the controller at rest")
    parser.add_argument(
        "--without-pods", action="store_true", help="the fake Knative makes no pods: half the work"
    )
    parser.add_argument("--keep-logs", metavar="FOLDER", help="copy the logs of the processes there")
    parser.add_argument(
        "--json", action="store_true", help="print all that was found as one JSON line at the end"
    )
    options = parser.parse_args()
    print(
        f"{options.services} InferenceServices, seed {options.seed}, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    found = asyncio.run(run(options))
    if options.json:
        print(json.dumps(found))
    problems = judge(found)
    for problem in problems:
        print(f"MISS {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
