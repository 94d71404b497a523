"""A node without an API server: real shims and processes, a cluster in memory, and waits with deadlines."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import uuid
from pathlib import Path
from typing import Any

from waiting_rig import until

from standalone.layout import Layout
from standalone.node import launch, saved
from standalone.node.addresses import PortAllocator
from standalone.node.context import Node, Settings
from standalone.node.images import ImageTable
from standalone.node.limits import Cgroups
from standalone.node.probing import Prober
from standalone.node.process_runtime import ProcessRuntime
from standalone.node.worker import PodWorker
from wakeful.kit import logs

Obj = dict[str, Any]
SETTINGS = Settings(
    restart_base_s=0.3, restart_max_s=1.0, recheck_s=0.05, refresh_s=0.05, shutdown_grace_s=1.0
)


class MemoryCluster:
    """The port ``Cluster`` in memory: merge-patches statuses, records events and deletions."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Obj] = {}
        self.patches: list[Obj] = []
        self.status: dict[str, Obj] = {}
        self.annotations: dict[str, dict[str, str]] = {}
        self.deleted: list[str] = []
        self.events: list[tuple[str, str, str]] = []
        self.asked: list[str] = []

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        self.asked.append(name)
        return self.objects.get((kind, name))

    async def token(self, namespace: str, account: str, audience: str, expires_s: int) -> str:
        return f"token-of-{account}"

    async def patch_status(self, pod: Obj, body: Obj) -> None:
        self.patches.append(body)
        self.status[pod["metadata"]["name"]] = body["status"]
        self.annotations[pod["metadata"]["name"]] = body["metadata"]["annotations"]

    async def delete_pod(self, pod: Obj) -> None:
        self.deleted.append(pod["metadata"]["name"])

    def emit(self, pod: Obj, event_type: str, reason: str, message: str, container: str = "") -> None:
        self.events.append((event_type, reason, message))

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


class Machine:
    """One data directory and the node processes (in this process) that work on it one after another."""

    def __init__(self, data_dir: Path, preloads: tuple[str, ...] = ()) -> None:
        self.layout = Layout(data_dir)
        self.layout.make()
        self.cluster = MemoryCluster()
        self.processes = ProcessRuntime(
            self.layout.run, self.layout.logs, preloads, Cgroups(str(data_dir), data_dir / "none")
        )
        self.table = ImageTable([data_dir / "images.yaml"], logs.get("test"))
        self.workers: list[tuple[PodWorker, asyncio.Task[None]]] = []

    async def open(self) -> None:
        await self.processes.open()
        self._keeping = asyncio.create_task(self.processes.keep())
        self._prober = Prober()
        await self._prober.__aenter__()
        capacity = {"cpu": "2", "memory": "1Gi"}
        self.node = Node(
            layout=self.layout,
            cluster=self.cluster,
            processes=self.processes,
            engine=None,
            table=self.table,
            prober=self._prober,
            host=launch.Host("http://127.0.0.1:8080", capacity),
            addresses=PortAllocator(),
            settings=SETTINGS,
            known=dict(await self.processes.known()),
        )

    async def close(self, is_ending: bool = True) -> None:
        """End as SIGTERM does, or (``is_ending`` false) vanish as after kill -9: processes stay."""
        for _, task in self.workers:
            task.cancel()
        await asyncio.gather(*(task for _, task in self.workers), return_exceptions=True)
        self.workers.clear()
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        await self.processes.close(is_ending)
        await self._prober.__aexit__()

    def start(self, pod: Obj) -> PodWorker:
        worker = PodWorker(self.node, pod, saved.read(self.layout.pods / pod["metadata"]["uid"]))
        self.workers.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def delete(self, worker: PodWorker, grace_s: float = 5.0) -> None:
        metadata = {**worker.pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        metadata["deletionGracePeriodSeconds"] = grace_s
        worker.update({**worker.pod, "metadata": metadata})
        await until(lambda: worker.pod["metadata"]["name"] in self.cluster.deleted)

    def state(self, name: str, index: int = 0, inits: bool = False) -> Obj:
        status = self.cluster.status.get(name, {})
        found = status.get("initContainerStatuses" if inits else "containerStatuses") or [{}]
        return found[index]

    def condition(self, name: str, kind: str) -> str:
        conditions = self.cluster.status.get(name, {}).get("conditions", [])
        return next((c["status"] for c in conditions if c["type"] == kind), "")

    async def phase(self, name: str, wanted: str) -> Obj:
        await until(lambda: self.cluster.status.get(name, {}).get("phase") == wanted)
        return self.cluster.status[name]

    async def ready(self, name: str) -> None:
        await until(lambda: self.condition(name, "Ready") == "True")

    def log(self, worker: PodWorker, container: str = "main") -> str:
        path = self.layout.pods / worker.uid / "logs" / f"{container}.log"
        return path.read_text() if path.exists() else ""


def python(code: str, name: str = "main", **fields: Any) -> Obj:
    """A container that runs ``code``."""
    return {"name": name, "image": "python:3", "command": ["python", "-c", textwrap.dedent(code)], **fields}


def pod(name: str, *containers: Obj, **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "uid": str(uuid.uuid4()), "labels": {"a": "b"}},
        "spec": {"nodeName": "wakeful", "restartPolicy": "Never", "containers": list(containers), **spec},
    }


SERVER = """
    import http.server, os, signal, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    class H(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if os.path.exists(os.environ.get("GATE", "/")) else 503)
            self.end_headers(); self.wfile.write(str(os.getpid()).encode())
        def log_message(self, *a): pass
    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
"""


def server(name: str = "main", **fields: Any) -> Obj:
    env = [{"name": "PORT", "value": "8080"}, *fields.pop("env", [])]
    return python(SERVER, name, env=env, ports=[{"name": "http1", "containerPort": 8080}], **fields)


assert sys.platform == "linux"
