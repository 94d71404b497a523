"""Which pods this node runs: a worker for each pod of the node ``wakeful``, adoption and clean-up after a crash.

Called by ``__main__``. Follows the API by an informer; at the first list it gives each pod what an earlier node process
saved and left running, and ends what belongs to no pod any more. Invariant: one worker a pod (by uid), and a worker
that fails is logged and started again with growing pauses, without touching the others.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from standalone.node import saved, volumes
from standalone.node.container import first_cause
from standalone.node.context import Node
from standalone.node.node_object import NAME
from standalone.node.worker import PodWorker
from wakeful.kit import logs
from wakeful.kit.informer import Informer
from wakeful.kit.kube import PODS, KubeClient

Obj = dict[str, Any]
RESTART_S = (0.1, 1.0, 5.0, 30.0)


class Pods:
    """The workers."""

    def __init__(self, node: Node, client: KubeClient) -> None:
        self._node = node
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_ending = False
        self._log = logs.get("node.pods")
        selector = f"spec.nodeName={NAME}"
        self.informer = Informer(client, PODS, self._on_change, field_selector=selector)

    def describe(self) -> list[Obj]:
        """The pods for the admin page."""
        workers = self._workers.values()
        return [
            {
                "namespace": worker.pod["metadata"]["namespace"],
                "name": worker.pod["metadata"]["name"],
                "uid": uid,
            }
            for uid, worker in zip(self._workers, workers, strict=True)
        ]

    async def clean(self) -> None:
        """After the first list: end processes and remove folders of pods that no longer exist."""
        await self.informer.synced()
        alive = {pod["metadata"]["uid"] for pod in self.informer.items()} | set(self._workers)
        for container_id, started in list(self._node.known.items()):
            if container_id.partition("/")[0] not in alive:
                runtime = self._node.holder(container_id)
                self._log.info("ending a container whose pod is gone", id=container_id, pid=started.pid)
                await runtime.kill(container_id, signal.SIGKILL)
                await runtime.wait(container_id)
                await runtime.forget(container_id)
        for folder in sorted(self._node.layout.pods.iterdir()):
            if folder.name not in alive and folder.name not in self._workers:
                await asyncio.to_thread(volumes.remove, folder)

    async def shutdown(self) -> None:
        """End every pod's processes; the pods stay in the API and start again with the next node."""
        self._is_ending = True
        await asyncio.gather(
            *(worker.shutdown() for worker in self._workers.values()), return_exceptions=True
        )
        await self.leave()

    async def leave(self) -> None:
        """Stop working and leave processes as they are."""
        self._is_ending = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _on_change(self, event: str, pod: Obj, _old: Obj | None) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if event == "DELETED":
            if worker is not None:
                worker.vanish()
            return
        self._end_namesakes(pod, uid)
        if worker is not None:
            worker.update(pod)
        elif not self._is_ending:
            self._tasks[uid] = asyncio.create_task(self._work(uid, pod))

    def _end_namesakes(self, pod: Obj, uid: str) -> None:
        """A pod deleted and made again while the watch was broken shows up only as its successor."""
        metadata = pod["metadata"]
        for other, worker in self._workers.items():
            theirs = worker.pod["metadata"]
            if other != uid and (theirs["namespace"], theirs["name"]) == (
                metadata["namespace"],
                metadata["name"],
            ):
                worker.vanish()

    async def _work(self, uid: str, pod: Obj) -> None:
        failures = 0
        while True:
            worker = self._make(pod)
            self._workers[uid] = worker
            try:
                await worker.run()
                break
            except Exception as error:  # one bad pod must leave the others alone
                pause_s = RESTART_S[min(failures, len(RESTART_S) - 1)]
                failures += 1
                cause = first_cause(error)
                self._log.error("pod worker failed", uid=uid, error=repr(cause), retry_in_s=pause_s)
                self._node.cluster.emit(pod, "Warning", "FailedSync", f"error syncing pod: {cause!r}")
                await asyncio.sleep(pause_s)
                pod = worker.pod
        self._workers.pop(uid, None)
        self._tasks.pop(uid, None)

    def _make(self, pod: Obj) -> PodWorker:
        uid = pod["metadata"]["uid"]
        worker = PodWorker(self._node, pod, saved.read(self._node.layout.pods / uid))
        worker.update(pod)
        return worker
