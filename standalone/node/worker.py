"""One pod from admission to removal: volumes, init containers in order, containers side by side, status, teardown.

Called by pods, which feeds it newer versions of the object; it speaks to the API only through ``Cluster``. Containers
restart on their own (container); this module knows the order of things. Sources: Kubernetes pod lifecycle, init
containers, sidecar containers. Invariant: the pod object is removed from the API only after its last process has
ended and its folder is gone; a pod that has finished is never run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from standalone.node import addresses, container, drain, pod_status, volumes
from standalone.node.container import Container
from standalone.node.context import Node
from standalone.node.pod_status import ContainerState, PodView
from standalone.node.ports import ClusterError, StartError
from standalone.node.publisher import Publisher, render_annotations
from standalone.node.restart import Role
from standalone.node.saved import Saved
from wakeful.kit import logs

Obj = dict[str, Any]
ANNOUNCE_S = 0.05
"""A start that is quicker than this is told in one patch: a request may wait for it, and every patch takes its time."""


class PodWorker:
    """The life of one pod. Run ``run`` in a task; ``update`` and ``vanish`` tell it what the API says."""

    def __init__(self, node: Node, pod: Obj, saved: Saved | None) -> None:
        self._node = node
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.folder: Path = node.layout.pods / self.uid
        self.volumes: Mapping[str, Path] = {}
        self._saved = saved or Saved()
        self._ports: dict[int, int] = {**self._ports_of_running(), **self._saved.ports}
        node.addresses.reserve(self.uid, self._ports.values())
        self._timeline: dict[str, float] = dict(self._saved.timeline)
        self._timeline.setdefault("admitted", node.clock())
        self._deleting = asyncio.Event()
        self._gone = asyncio.Event()
        """The object is gone from the API."""
        self._is_initialized = False
        self._is_done = False
        self._is_resting = False
        """It finished in an earlier life: its status stands, whatever keeps its object."""
        self._failure: tuple[str, str] | None = None
        self._publisher = Publisher(node.cluster, self.folder, self._snapshot)
        self._log = logs.get("node.pod").bind(
            pod=pod["metadata"]["name"], namespace=pod["metadata"]["namespace"]
        )
        spec = pod["spec"]
        self._inits = [
            self._make(c, Role.SIDECAR if c.get("restartPolicy") == "Always" else Role.INIT)
            for c in spec.get("initContainers") or []
        ]
        self._mains = [self._make(c, Role.MAIN) for c in spec.get("containers") or []]

    # --- what the API says ---

    def update(self, pod: Obj) -> None:
        """A newer version of the object; a deletion timestamp starts the end."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleting.set()

    def vanish(self) -> None:
        """The object is gone from the API (forced deletion): end the processes, write no more."""
        self._gone.set()
        self._deleting.set()

    # --- what containers need (container.Surroundings) ---

    def ports_for(self, spec: Obj, extra: set[int]) -> Mapping[int, int]:
        try:
            for port in sorted(addresses.wanted(spec) | extra):
                if port not in self._ports:
                    self._ports[port] = self._node.addresses.give(self.uid)
        except addresses.NoPortError as error:
            raise StartError("CreateContainerError", str(error)) from error
        return self._ports

    def on_change(self) -> None:
        if all(c.state.is_ready for c in self._mains) and self._mains:
            self._timeline.setdefault("ready", self._node.clock())
        self._publisher.mark()

    def on_starting(self, role: Role) -> None:
        if role is Role.MAIN and "started" not in self._timeline:
            self._timeline["started"] = self._node.clock()
            self._publisher.mark_within(ANNOUNCE_S)

    # --- the life ---

    async def run(self) -> None:
        """Everything, until the pod is removed."""
        publishing = asyncio.create_task(self._publisher.run())
        life = asyncio.create_task(self._live())
        life.add_done_callback(lambda task: task.cancelled() or task.exception())
        deleted = asyncio.create_task(self._deleting.wait())
        try:
            await asyncio.wait({life, deleted, publishing}, return_when=asyncio.FIRST_COMPLETED)
            for part in (life, publishing):
                if part.done() and (error := part.exception()) is not None:
                    raise error
            await asyncio.wait({deleted, publishing}, return_when=asyncio.FIRST_COMPLETED)
            if not deleted.done():
                raise publishing.exception() or RuntimeError("the status is written no more")
            await self._remove(life)
        finally:
            for task in (life, deleted, publishing):
                task.cancel()
            await asyncio.gather(life, deleted, publishing, return_exceptions=True)

    async def shutdown(self) -> None:
        """The node ends: stop the processes within the shorter of the pod's grace and the node's limit."""
        limit_s = self._node.settings.shutdown_grace_s
        await self.stop_containers(min(self._node.grace_s(self.pod), limit_s))
        await self._publisher.settled(1.0)

    async def stop_containers(self, grace_s: float) -> None:
        """Main containers together, then sidecars in reverse order, and whatever init container runs."""
        plain = [c for c in self._inits if c.state.role is Role.INIT]
        await asyncio.gather(*(c.stop(grace_s) for c in (*self._mains, *plain)))
        for sidecar in reversed([c for c in self._inits if c.state.role is Role.SIDECAR]):
            await sidecar.stop(grace_s)

    async def _live(self) -> None:
        phase = (self.pod.get("status") or {}).get("phase")
        if phase in ("Succeeded", "Failed"):
            await self._rest(phase)
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._announce()
        await self._prepare_volumes()
        deadline = asyncio.create_task(self._enforce_deadline())
        refresh = asyncio.create_task(self._refresh_volumes())
        try:
            async with asyncio.TaskGroup() as sidecars:
                if await self._initialize(sidecars):
                    async with asyncio.TaskGroup() as mains:
                        for each in self._mains:
                            mains.create_task(each.run(self._is_adoptable(each)))
                if not self._deleting.is_set():
                    await self.stop_containers(self._node.grace_s(self.pod))
        finally:
            for task in (deadline, refresh):
                task.cancel()
            await asyncio.gather(deadline, refresh, return_exceptions=True)
        self._is_done = True
        self._publisher.mark()

    async def _rest(self, phase: str) -> None:
        """A pod that finished in an earlier life: nothing to run, its status stands."""
        self._log.debug("pod is over", phase=phase)
        self._is_resting = True
        await self._deleting.wait()

    def _announce(self) -> None:
        """Allocate what can be known now; it is said with the start, or soon where the start takes longer."""
        for spec in (c.spec for c in (*self._inits, *self._mains)):
            extra: set[int] = set()
            with contextlib.suppress(StartError):
                _, image = self._node.find(spec.get("image") or "")
                extra = image.container_ports() if image else set()
            with contextlib.suppress(StartError):
                self.ports_for(spec, extra)
        self._publisher.mark_within(ANNOUNCE_S)

    async def _prepare_volumes(self) -> None:
        folders = volumes.Folders(self.folder / "volumes", self._node.layout.volumes)
        while True:
            try:
                capacity = self._node.host.capacity
                self.volumes = await volumes.prepare(self.pod, folders, self._node.cluster, capacity)
                return
            except (volumes.VolumeError, ClusterError) as error:
                self._node.cluster.emit(self.pod, "Warning", "FailedMount", str(error))
                waiting = {"waiting": {"reason": "ContainerCreating", "message": str(error)}}
                for each in (*self._inits, *self._mains):
                    each.state.state = waiting
                self._publisher.mark()
            await asyncio.sleep(self._node.settings.recheck_s)

    async def _initialize(self, sidecars: asyncio.TaskGroup) -> bool:
        """Init containers in order; False where one failed for good, or was stopped before it had started."""
        for each in self._inits:
            if each.state.role is Role.SIDECAR:
                running = sidecars.create_task(each.run(self._is_adoptable(each)))
                started = asyncio.ensure_future(each.started.wait())
                try:
                    await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    started.cancel()
                if not each.started.is_set():
                    return False
                continue
            if each.state.exit_code != 0:
                await each.run(self._is_adoptable(each))
            if each.state.exit_code != 0 or self._deleting.is_set():
                return False
            each.state.is_ready = True
        self._is_initialized = True
        self._publisher.mark_within(ANNOUNCE_S)
        return True

    async def _enforce_deadline(self) -> None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        if limit is None:
            return
        await asyncio.sleep(max(0.0, self._timeline["admitted"] + float(limit) - self._node.clock()))
        self._failure = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        self._node.cluster.emit(self.pod, "Normal", "DeadlineExceeded", self._failure[1])
        await self.stop_containers(self._node.grace_s(self.pod))

    async def _refresh_volumes(self) -> None:
        folders = volumes.Folders(self.folder / "volumes", self._node.layout.volumes)
        while volumes.is_refreshable(self.pod):
            await asyncio.sleep(self._node.settings.refresh_s)
            with contextlib.suppress(volumes.VolumeError, ClusterError):
                await volumes.prepare(self.pod, folders, self._node.cluster, self._node.host.capacity)

    # --- the end ---

    async def _remove(self, life: asyncio.Task[None]) -> None:
        grace_s = await self._drain(self._node.grace_s(self.pod))
        await self.stop_containers(grace_s)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        await self._end_known()
        if not self._gone.is_set() and not self._is_resting:
            self._is_done = True
            self._publisher.mark()
            await self._publisher.settled(2.0)
        await self._publisher.stop_saving()
        await asyncio.to_thread(volumes.remove, self.folder)
        self._node.addresses.release(self.uid)
        while not self._gone.is_set():
            try:
                await self._node.cluster.delete_pod(self.pod)
                return
            except ClusterError as error:
                self._log.warning("pod not removed yet", error=str(error))
                await asyncio.sleep(1.0)

    async def _end_known(self) -> None:
        """End what an earlier node process left running and this life ended too soon to take over."""
        for container_id in [id_ for id_ in self._node.known if id_.startswith(f"{self.uid}/")]:
            runtime = self._node.holder(container_id)
            await runtime.kill(container_id, signal.SIGKILL)
            await runtime.wait(container_id)
            await runtime.forget(container_id)

    async def _drain(self, grace_s: float) -> float:
        """Let requests under way end first, within the grace. Returns what is left of it (at least 2 s of it, as a kubelet)."""
        if self._gone.is_set() or not drain.is_served(self.pod):
            return grace_s
        began = asyncio.get_running_loop().time()
        waiting = asyncio.create_task(drain.wait(self._node.layout.socket("gateway"), self.uid, grace_s))
        gone = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            outcome = waiting.result() if waiting.done() else "the pod was removed"
        finally:
            for task in (waiting, gone):
                task.cancel()
            await asyncio.gather(waiting, gone, return_exceptions=True)
        took_s = asyncio.get_running_loop().time() - began
        self._log.debug("drained", outcome=outcome, took_s=round(took_s, 3))
        return max(grace_s - took_s, min(grace_s, 2.0))

    # --- state ---

    def _ports_of_running(self) -> dict[int, int]:
        """The ports of what runs already: a node killed between a start and the save has not saved them."""
        ours = (started for id_, started in self._node.known.items() if id_.startswith(f"{self.uid}/"))
        return {int(k): int(v) for started in ours for k, v in (started.meta.get("ports") or {}).items()}

    def _make(self, spec: Obj, role: Role) -> Container:
        has_inits = bool(self.pod["spec"].get("initContainers"))
        state = container.restored(spec, role, self._saved.containers.get(spec["name"]), has_inits)
        known = [_restarts(i) for i in self._node.known if i.startswith(f"{self.uid}/{spec['name']}/")]
        if known and max(known) >= state.restarts:
            state.restarts = max(known)
        return Container(self._node, self, spec, state)

    def _is_adoptable(self, each: Container) -> bool:
        """Whether an earlier node process had started it and not seen it end for good."""
        container_id = f"{self.uid}/{each.state.name}/{each.state.restarts}"
        return container_id in self._node.known or "running" in each.state.state

    def _snapshot(self) -> tuple[Obj, Obj, Saved]:
        states: list[ContainerState] = [c.state for c in (*self._inits, *self._mains)]
        view = PodView(
            self.pod, states, self._is_initialized, self._is_done, self._timeline["admitted"], self._failure
        )
        status = pod_status.build(view, self._node.clock())
        # The next status is compared with ours, not with what a watch has brought back so far.
        self.pod = {
            **self.pod,
            "status": {**(self.pod.get("status") or {}), "conditions": status["conditions"]},
        }
        metadata = self.pod["metadata"]
        body = {
            "metadata": {"uid": self.uid, "annotations": render_annotations(self._ports, self._timeline)},
            "status": status,
        }
        keys = ("state", "last", "restarts", "id", "via")
        containers = {s.name: {key: getattr(s, key) for key in keys} for s in states}
        keep = Saved(
            metadata["namespace"], metadata["name"], dict(self._ports), dict(self._timeline), containers
        )
        return self.pod, body, keep


def _restarts(container_id: str) -> int:
    return int(container_id.rpartition("/")[2])
