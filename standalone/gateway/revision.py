"""One revision on the data path: its pods, who of them answers, who waits for them, and its wakes.

``fleet`` makes it and tells it of objects; ``passage`` enters requests. A pod takes requests when our own probe had a
good answer or the node says Ready; it stops when the node says otherwise, when a dial to it fails, or when it
terminates (requests under way there go on). Invariant: ``hold`` knows exactly the pods for which ``is_open`` holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial

from activator_hooks import timeline
from activator_hooks.hold import ByteBudget, Hold
from activator_hooks.ports import Waker
from activator_hooks.waking import WakeLoop
from standalone.gateway import explain, prober
from standalone.gateway.meter import Meter
from standalone.gateway.pods_pool import Pool
from standalone.gateway.podview import PodView, Probe, RevisionView
from standalone.gateway.settings import Limits
from wakeful.core.scaling.breaker import Bounds


class Pod:
    """A pod and our connections to it."""

    def __init__(self, view: PodView) -> None:
        self.view = view
        self.is_answering = False
        self.ready_at: float | None = None
        """First good probe, or the node's word (Unix seconds)."""
        self.readiness = prober.Readiness()
        self.pool: Pool | None = None
        self.probing: asyncio.Task[None] | None = None
        self.is_leaving = False
        """The node is about to end it (``drain``); its object may not say so here yet."""
        self.tunnels = 0
        """Upgraded connections (WebSockets) under way, which nobody knows the end of."""
        self.refusal = ""
        """What its readiness probe last said no with."""
        self.on_less: asyncio.Event = asyncio.Event()
        """Set when a request to it has ended."""

    @property
    def is_open(self) -> bool:
        """It takes new requests."""
        return self.is_answering and self.pool is not None and not self.is_terminating

    @property
    def is_terminating(self) -> bool:
        return self.is_leaving or self.view.is_terminating

    def stop_probing(self) -> None:
        if self.probing is not None:
            self.probing.cancel()
            self.probing = None

    def close(self) -> None:
        self.stop_probing()
        if self.pool is not None:
            self.pool.close()


class Revision:
    """The state of one revision. Single event loop."""

    def __init__(self, view: RevisionView, limits: Limits, budget: ByteBudget, waker: Waker) -> None:
        self.view = view
        self.limits = limits
        self.pods: dict[str, Pod] = {}
        self.hold = Hold(self._bounds(), budget)
        self.meter = Meter(asyncio.get_running_loop().time())
        self.waking = WakeLoop(waker, view.namespace, view.name, self._needs_pod)
        self.wake_seen_at: float | None = None
        """When the request that woke it was seen (Unix seconds); None while nobody waits for a wake."""
        self.last_wake_s = 0.0
        self._failing_since: float | None = None

    def _bounds(self) -> Bounds:
        limits, view = self.limits, self.view
        return Bounds(view.slots, limits.hold_requests, limits.hold_bytes, view.is_direct_when_ready)

    def _needs_pod(self) -> bool:
        return not self.hold.breaker.pods and self.hold.breaker.waiting > 0

    # ---- objects

    def update(self, view: RevisionView) -> None:
        """The Revision object changed."""
        before, self.view = self.view, view
        self.hold.set_bounds(self._bounds())
        if (before.port, before.probe) != (view.port, view.probe):
            for pod in self.pods.values():
                self._rebuild(pod)

    def put_pod(self, view: PodView) -> None:
        """A Pod object appeared or changed."""
        pod = self.pods.get(view.key)
        if pod is None:
            pod = self.pods[view.key] = Pod(view)
        before, pod.view = pod.view, view
        if pod.pool is None or _address(before, self.view.port) != _address(view, self.view.port):
            self._rebuild(pod)
        if before.is_ready and not view.is_ready:
            pod.is_answering = False
        elif (view.is_ready and not pod.is_answering and not before.is_ready) or (
            view.is_ready and pod.ready_at is None
        ):
            self._opened(pod, prober.Readiness())
        self._probe(pod)
        self._publish()

    def drop_pod(self, key: str) -> None:
        """A Pod object is gone."""
        pod = self.pods.pop(key, None)
        if pod is not None:
            pod.close()
            self._publish()

    def _rebuild(self, pod: Pod) -> None:
        if pod.pool is not None:
            pod.close()
            pod.pool = None
            pod.is_answering = False
        address = _address(pod.view, self.view.port)
        if address is not None:
            pod.pool = prober.pool_for(*address, self.limits)

    def _probe(self, pod: Pod) -> None:
        """Start or stop the questions to a pod."""
        probe, view = self.view.probe, pod.view
        can_be = not pod.is_terminating and pod.pool is not None
        # One that was open once has started, whatever its annotations say now.
        has_started = "started" in view.timeline or pod.ready_at is not None
        asked = probe.kind != "node" and has_started
        is_asking = pod.probing is not None and not pod.probing.done()
        if can_be and asked and not is_asking and not pod.is_answering:
            pod.probing = asyncio.get_running_loop().create_task(self._run_probe(pod))
        elif not can_be and is_asking:
            pod.stop_probing()  # else a question under way goes on: its answer tells of import and load

    async def _run_probe(self, pod: Pod) -> None:
        probe, serving = self.view.probe, pod.pool
        assert serving is not None
        port = pod.view.ports.get(probe.port)
        is_own = port is not None and port != serving.address.port
        pool = prober.pool_for(pod.view.host, port, self.limits) if is_own and port else serving
        try:
            readiness = await prober.probe_until_ready(pool, probe, partial(setattr, pod, "refusal"))
        finally:
            if is_own:
                pool.close()
        if pod.view.key in self.pods and pod.pool is serving:
            self._opened(pod, readiness)
            self._publish()

    def _opened(self, pod: Pod, readiness: prober.Readiness) -> None:
        pod.is_answering = True
        pod.readiness = readiness
        if pod.ready_at is None:
            pod.ready_at = time.time()

    def _publish(self) -> None:
        view = self.view
        is_open = [pod for pod in self.pods.values() if pod.is_open]
        is_open.sort(key=lambda pod: (pod.view.host, pod.view.ports.get(view.port, 0)))
        if is_open:
            self._failing_since = None
            self.waking.rest()
        self.hold.set_pods([pod.view.key for pod in is_open])
        if (
            self._needs_pod()
        ):  # the last pod went while requests waited for a place there: nobody else asks for one
            self.waking.poke()

    def leave(self, pod: Pod) -> None:
        """A request at ``pod`` has ended."""
        self.hold.leave(pod.view.key)
        if pod.is_terminating:
            pod.on_less.set()

    async def drain(self, pod: Pod, tunnels_s: float) -> None:
        """Send nothing new to ``pod``, return when what is there has ended; tunnels are given ``tunnels_s`` seconds."""
        pod.is_leaving = True
        self._probe(pod)
        self._publish()
        loop = asyncio.get_running_loop()
        until = loop.time() + tunnels_s
        while left := self.hold.breaker.in_flight_at(pod.view.key):
            rest_s = until - loop.time() if left <= pod.tunnels else None
            if rest_s is not None and rest_s <= 0:
                return
            pod.on_less.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await pod.on_less.wait()

    def dial_failed(self, pod: Pod) -> None:
        """A connection to ``pod`` was refused: nothing new goes there until it answers a probe again."""
        pod.is_answering = False
        if self.view.probe.kind == "node":
            # the node has not noticed yet; ask by connecting, since we may not run the pod's own probe
            self._reopen_by_tcp(pod)
        else:
            self._probe(pod)
        self._publish()

    def _reopen_by_tcp(self, pod: Pod) -> None:
        async def knock() -> None:
            assert pod.pool is not None
            await prober.probe_until_ready(pod.pool, Probe("tcp"))
            if pod.view.is_ready:
                self._opened(pod, pod.readiness)
                self._publish()

        if pod.probing is None or pod.probing.done():
            pod.probing = asyncio.get_running_loop().create_task(knock())

    # ---- waiting and waking

    def wait_begins(self) -> bool:
        """A request is about to wait. True when it is the one that wakes the revision."""
        if self.hold.breaker.pods:
            return False
        self.waking.poke()
        if self.wake_seen_at is not None:
            return False
        self.wake_seen_at = time.time()
        return True

    def wake_ends(self) -> None:
        """The request that woke it has its answer, or is gone."""
        self.wake_seen_at = None

    def build_timeline(self, pod: Pod, seen_at: float) -> timeline.Timeline:
        """The timeline of a wake whose answer begins now."""
        decision = self.waking.decision
        ready_at = pod.ready_at or seen_at
        instants = timeline.Instants(
            seen=seen_at,
            ready=ready_at,
            answered=time.time(),
            decided=decision.decided_at if decision is not None else None,
            started=pod.view.timeline.get("started"),
            import_ms=pod.readiness.import_ms,
            load_ms=pod.readiness.load_ms,
        )
        self.last_wake_s = instants.answered - seen_at
        return timeline.build(self.view.namespace, self.view.name, pod.view.name, instants)

    @property
    def failure(self) -> str:
        """Why no pod will come soon; empty where one serves or may be on its way."""
        if self.hold.breaker.pods:
            return ""
        live = [pod.view for pod in self.pods.values() if not pod.is_terminating]
        if not live:
            return self.view.failure
        if (
            self.view.failure
            and not self.view.is_crashed
            and all(self.view.failed_at >= view.created_at for view in live)
        ):
            return next((view.failure for view in live if view.failure), self.view.failure)
        return live[0].failure if all(view.failure for view in live) else ""

    def why_waiting(self) -> str:
        """Why no pod takes requests, in one sentence."""
        live = [pod for pod in self.pods.values() if not pod.is_terminating]
        return explain.why_no_pod(self.view, live, self.waking.trouble, time.time())

    def tick(self, now: float) -> None:
        """Now and then: tell those who wait of a failure that lasts, close stale connections. ``now``: loop time."""
        for pod in self.pods.values():
            if pod.pool is not None:
                pod.pool.prune()
        failure = self.failure
        if not failure:
            self._failing_since = None
            return
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since >= self.limits.fail_after_s:
            self.hold.fail(failure, now - self.limits.fail_after_s)

    async def close(self) -> None:
        """The revision is gone, or the process ends."""
        await self.waking.stop()
        self.hold.fail(f'revision "{self.view.name}" was deleted', float("inf"))
        for pod in self.pods.values():
            pod.close()


def _address(view: PodView, port: int) -> tuple[str, int] | None:
    given = view.ports.get(port)
    if given is None and len(view.ports) == 1:
        given = next(iter(view.ports.values()))
    return (view.host, given) if given else None
