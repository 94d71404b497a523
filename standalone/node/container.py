"""One container of one pod across its restarts: prepare, start, watch, end, wait, start again.

Called by worker, which gives it a ``Surroundings`` (what it needs of its pod). Probes run in container_probes. The
rules for restarts are in ``restart``, for launches in ``launch``. Invariant: ``state`` always tells the truth about the
process, ``on_change`` is called after each change of it, and ``run`` returns only when the container will not be
started again by this worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from standalone.node import container_probes, launch, pod_status, restart, rewriting, termination
from standalone.node.context import Node
from standalone.node.launch import Place, Prepared
from standalone.node.pod_status import ContainerState
from standalone.node.ports import ClusterError, ContainerRuntime, Exit, Launch, Started, StartError
from standalone.node.probing import Target
from standalone.node.restart import Role
from wakeful.kit import logs

Obj = dict[str, Any]
START_WAIT_S = 5.0
"""How long a stop waits at least for a start under way, so that there is something to end."""


class Surroundings(Protocol):
    """What a container needs of its pod."""

    pod: Obj
    folder: Path
    volumes: Mapping[str, Path]

    def ports_for(self, container: Obj, extra: set[int]) -> Mapping[int, int]:
        """The pod's ports with those of ``container`` and ``extra`` among them."""

    def on_change(self) -> None:
        """Something of the status changed."""

    def on_starting(self, role: Role) -> None:
        """A container is about to be started."""


@dataclass(frozen=True, slots=True)
class Running:
    """A container that runs: who holds it, and how to reach it."""

    runtime: ContainerRuntime
    launch: Launch
    started: Started
    target: Target


class Container:
    """Runs one container spec. ``state`` may be that of an earlier node process."""

    def __init__(self, node: Node, around: Surroundings, spec: Obj, state: ContainerState) -> None:
        self._node = node
        self._around = around
        self.spec = spec
        self.state = state
        self._back_off = node.settings.back_off
        self._log = logs.get("node.container").bind(pod=around.pod["metadata"]["name"])
        self._running: Running | None = None
        self._stop = asyncio.Event()
        self._starting = asyncio.Lock()
        """Held while the runtime starts it: whoever stops it then must wait for what there will be to end."""
        self._hook: asyncio.Task[None] | None = None
        self._log_from = 0.0
        """When the run before this one ended: what the log says from then on is of this one."""
        self.started = asyncio.Event()
        """Set when it has started (its startup probe succeeded), for the containers that wait for a sidecar."""
        self.idle = asyncio.Event()
        self.idle.set()

    async def run(self, adopted: bool = False) -> None:
        """Run it until it is not to be started again. ``adopted``: it was started by an earlier node process."""
        policy = self._around.pod["spec"].get("restartPolicy") or "Always"
        while not self._stop.is_set():
            running = await self._adopt() if adopted else await self._start()
            adopted = False
            if running is None:
                return
            ended = await self._watch(running)
            self._record_end(running, ended)
            await running.runtime.forget(running.launch.id)
            if self._stop.is_set() or not restart.decide(policy, self.state.role, ended.code):
                return
            await self._wait_to_restart(ended.at - running.started.at)

    async def stop(self, grace_s: float, reason: str = "Stopping container") -> None:
        """preStop, SIGTERM, and after ``grace_s`` seconds in all SIGKILL; it is not started again."""
        self._stop.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(grace_s, START_WAIT_S)), self._starting:
                pass
        await self._end(grace_s, f"{reason} {self.state.name}")

    async def kill(self, message: str) -> None:
        """End it by its own grace period, to be restarted by policy (failed liveness probe or hook)."""
        await self._end(self._node.grace_s(self._around.pod), message)

    # --- starting ---

    async def _start(self) -> Running | None:
        """Try until it starts; None when it was stopped before that."""
        backing_off, told, tries = False, "", 0
        while not self._stop.is_set():
            try:
                return await self._try_start()
            except StartError as error:
                reason = error.reason
                if backing_off and reason == "ErrImagePull":
                    reason = "ImagePullBackOff"
                self._wait_state(reason, str(error))
                text = f"{'Error: ' if 'Image' not in reason else ''}{error}"
                tries = tries + 1 if text == told else 1
                if (
                    tries & (tries - 1) == 0
                ):  # told at tries 1, 2, 4, 8 ...: it is tried often, to be quick once mended
                    self._emit("Warning", "Failed", text)
                told = text
            backing_off = True
            await self._sleep(self._node.settings.recheck_s)
        return None

    async def _try_start(self) -> Running | None:
        """One try. None when it was stopped meanwhile. Raises ``StartError``."""
        runtime, image = self._node.find(self.spec.get("image") or "")
        self._emit("Normal", "Pulled", _pulled(self.spec.get("image") or "", image is not None))
        extra = image.container_ports() if image is not None else set()
        ports = self._around.ports_for(self.spec, extra)
        pod = self._around.pod
        place = Place(self._around.folder, self.state.name, self.state.restarts)
        sources = await launch.fetch_sources(pod, self.spec, self._node.cluster)
        prepared = Prepared(pod, self.spec, image, sources, self._around.volumes, ports)
        try:
            order = launch.compose(prepared, place, self._node.host)
        except OSError as error:
            raise StartError("CreateContainerError", f"cannot prepare its folders: {error}") from error
        async with self._starting:
            if self._stop.is_set():
                return None
            self._emit("Normal", "Created", f"Created container: {self.state.name}")
            self._around.on_starting(self.state.role)
            started = await runtime.run(order)
            return self._mark_running(runtime, order, started)

    async def _adopt(self) -> Running | None:
        """Take over what an earlier node process started; ``wait`` says at once if it has ended meanwhile."""
        place = Place(self._around.folder, self.state.name, self.state.restarts)
        container_id = f"{self._around.pod['metadata']['uid']}/{self.state.name}/{self.state.restarts}"
        known = self._node.known.get(container_id)
        if known is None:
            gone = Started(0, self._node.clock())
            order = Launch(container_id, self.spec.get("image") or "", (), {}, place.work, place.log)
            return self._mark_running(self._node.processes, order, gone, is_quiet=True)
        async with self._starting:
            order = await self._remake(place)
            return self._mark_running(self._node.holder(container_id), order, known, is_quiet=True)

    async def _remake(self, place: Place) -> Launch:
        """The launch as it is today, for the environment of probes and hooks."""
        try:
            _, image = self._node.find(self.spec.get("image") or "")
            pod, cluster = self._around.pod, self._node.cluster
            sources = await launch.fetch_sources(pod, self.spec, cluster)
            ports = self._around.ports_for(self.spec, image.container_ports() if image else set())
            prepared = Prepared(pod, self.spec, image, sources, self._around.volumes, ports)
            return launch.compose(prepared, place, self._node.host)
        except (StartError, ClusterError, OSError):
            container_id = f"{self._around.pod['metadata']['uid']}/{place.container}/{place.restarts}"
            ports = self._around.ports_for(self.spec, set())
            image_name = self.spec.get("image") or ""
            return Launch(container_id, image_name, (), {}, place.work, place.log, ports=ports)

    def _mark_running(
        self, runtime: ContainerRuntime, order: Launch, started: Started, is_quiet: bool = False
    ) -> Running:
        folders = {mount.path: str(mount.source) for mount in order.mounts}
        rewrite = rewriting.build(folders)
        target = Target(self.spec, order.ports, order.env, order.cwd, rewrite)
        self._running = Running(runtime, order, started, target)
        self.idle.clear()
        self.state.id, self.state.via = order.id, started.via
        self.state.state = {"running": {"startedAt": pod_status.stamp(started.at)}}
        self.state.is_started = "startupProbe" not in self.spec
        self._around.on_change()
        if not is_quiet:
            self._emit("Normal", "Started", f"Started container {self.state.name}")
            if (hook := (self.spec.get("lifecycle") or {}).get("postStart")) is not None:
                self._hook = asyncio.create_task(self._post_start(hook, target))
        return self._running

    async def _post_start(self, hook: Obj, target: Target) -> None:
        result = await self._node.prober.attempt(hook, target, self._node.grace_s(self._around.pod) or 30.0)
        if not result.is_good:
            self._emit("Warning", "FailedPostStartHook", f"PostStartHook failed: {result.message}")
            await self.kill(f"FailedPostStartHook: container {self.state.name} will be killed")

    # --- watching ---

    async def _watch(self, running: Running) -> Exit:
        """Run its probes until it ends."""
        probes = asyncio.create_task(self._probe(running.target))
        try:
            return await running.runtime.wait(running.launch.id)
        finally:
            tasks = [task for task in (probes, self._hook) if task is not None]
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    self._log.error("hook failed", container=self.state.name, error=repr(ended))
            self._hook = None

    async def _probe(self, target: Target) -> None:
        """Its probes. A failure of our own is told and they begin anew: else it would be unready, or unwatched, in silence."""
        while True:
            try:
                return await container_probes.run(self._node, target, self)
            except Exception as error:  # whatever a probe may meet
                cause = first_cause(error)
                self._log.error("probes failed", container=self.state.name, error=repr(cause))
                self._emit("Warning", "ProbeError", f"probes of {self.state.name} failed: {cause!r}")
            await asyncio.sleep(self._node.settings.recheck_s)

    def set_ready(self, is_ready: bool) -> None:
        """Called by its probes."""
        if self.state.is_ready != is_ready:
            self.state.is_ready = is_ready
            self._around.on_change()

    def set_started(self) -> None:
        """Called by its probes: the startup probe succeeded, or there is none."""
        self.started.set()
        if not self.state.is_started:
            self.state.is_started = True
            self._around.on_change()

    def unhealthy(self, message: str) -> None:
        """Called by its probes for each failure that counts."""
        self._emit("Warning", "Unhealthy", message)

    # --- ending ---

    async def _end(self, grace_s: float, message: str) -> None:
        running = self._running
        if running is None:
            return
        self._emit("Normal", "Killing", message)
        began = asyncio.get_running_loop().time()
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook is not None and grace_s > 0:
            result = await self._node.prober.attempt(hook, running.target, grace_s)
            if not result.is_good:
                self._emit("Warning", "FailedPreStopHook", f"PreStopHook failed: {result.message}")
        if grace_s > 0:
            await running.runtime.kill(running.launch.id, signal.SIGTERM)
            # A hook may use up the grace period; the container still gets two seconds, as from a kubelet.
            left_s = max(2.0 if hook else 0.0, grace_s - (asyncio.get_running_loop().time() - began))
            try:
                async with asyncio.timeout(left_s):
                    await self.idle.wait()
                return
            except TimeoutError:
                pass
        await running.runtime.kill(running.launch.id, signal.SIGKILL)
        await self.idle.wait()

    def _record_end(self, running: Running, ended: Exit) -> None:
        reason = ended.reason or ("Completed" if ended.code == 0 else "Error")
        place = Place(self._around.folder, self.state.name, self.state.restarts)
        message = ended.message or termination.message(self.spec, place, ended.code, self._log_from)
        self._log_from = ended.at
        terminated = {
            "exitCode": ended.code,
            "reason": reason,
            "startedAt": pod_status.stamp(running.started.at),
            "finishedAt": pod_status.stamp(ended.at),
            "containerID": f"process://{running.launch.id}",
        }
        if message:
            terminated["message"] = message
        self.state.state = {"terminated": terminated}
        self.state.is_ready = self.state.is_started = False
        self._running = None
        self.started.clear()
        self.idle.set()
        self._around.on_change()

    async def _wait_to_restart(self, ran_s: float) -> None:
        self._back_off = self._back_off.after_run(ran_s)
        self.state.last = self.state.state
        wait_s = self._back_off.wait_s
        if wait_s:
            name, pod = self.state.name, self._around.pod["metadata"]
            message = (
                f"back-off {wait_s:g}s restarting failed container={name} "
                f"pod={pod['name']}_{pod['namespace']}({pod['uid']})"
            )
            self._wait_state("CrashLoopBackOff", message)
            self._emit(
                "Warning", "BackOff", f"Back-off restarting failed container {name} in pod {pod['name']}"
            )
            await self._sleep(wait_s)
        if self._stop.is_set():
            self.state.state, self.state.last = self.state.last, {}
        else:
            self.state.restarts += 1

    def _wait_state(self, reason: str, message: str) -> None:
        waiting = {"waiting": {"reason": reason, "message": message}}
        if self.state.state != waiting:
            self.state.state = waiting
            self._around.on_change()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _emit(self, event_type: str, reason: str, message: str) -> None:
        self._node.cluster.emit(self._around.pod, event_type, reason, message, self.state.name)


def first_cause(error: BaseException) -> BaseException:
    """The first failure below a task group's, which alone says what happened."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def restored(spec: Obj, role: Role, saved: Obj | None, waits_for_inits: bool = False) -> ContainerState:
    """The state a container begins with: fresh, or as an earlier node process saved it."""
    fresh = ContainerState(spec["name"], spec.get("image") or "", role)
    if waits_for_inits:
        fresh.state = {"waiting": {"reason": "PodInitializing"}}
    if not saved:
        return fresh
    keys = ("state", "last", "restarts", "id", "via")
    return replace(fresh, **{key: saved[key] for key in keys if key in saved})


def _pulled(image: str, is_table: bool) -> str:
    where = "in the image table" if is_table else "by the container engine"
    return f'Container image "{image}" already present on machine ({where})'
