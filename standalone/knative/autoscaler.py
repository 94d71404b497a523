"""The autoscaler: ticks every revision, wakes one at once, writes ``spec.replicas`` and the PodAutoscaler's status.

The gateway calls ``wake`` and ``record`` through ``autoscaler_http``; ``scaler`` decides. Writes for one revision are
serialised by a lock, so that a tick that decided on zero cannot overtake a wake. Left out: scraping pods (all
traffic passes the gateway), ServerlessServices, metrics of the HPA class other than cpu and memory.

Invariant: ``wake`` returns after the Deployment's replicas were stored; memory is bounded by the PodAutoscalers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from standalone.knative import pod_usage
from standalone.knative.pod_index import PodIndex, is_active, is_pod_ready
from standalone.knative.pod_usage import PodUsage, UsageReader
from standalone.knative.resources import AUTOSCALERS, Key
from standalone.knative.revision import progress_deadline_s
from standalone.knative.scaler import Facts, Next, Scaler
from standalone.knative.settings import ServingConfig
from standalone.knative.world import World, is_leaving, rfc3339
from wakeful.core.api import conditions
from wakeful.core.api.conditions import TRUE, Condition
from wakeful.core.api.isvc_problem import mapping
from wakeful.core.scaling import bounds, hpa, kpa
from wakeful.core.scaling.cadence import Cadence
from wakeful.core.scaling.settings import HPA, build_scaling
from wakeful.kit import logs
from wakeful.kit.kube import DEPLOYMENTS, Obj
from wakeful.kit.workqueue import WorkQueue

STATUS_LAG_S = 0.2
"""How long the status may lag behind a wake: the machine is needed for the pod that a request waits for."""
REPORT_WAIT_S = 1.2
"""Reports come once a second; a tick that is due waits this long for one."""
EXTERNAL = "external"
"""Why a wake does nothing: the class names an autoscaler of somebody else's."""
INITIALIZED, SKS = "ScaleTargetInitialized", "SKSReady"


class UnknownRevisionError(Exception):
    """No PodAutoscaler of that name; the text says which and that it may be new or gone."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One revision's second, as the gateway saw it."""

    namespace: str
    revision: str
    concurrency: float
    requests: float


@dataclass(frozen=True, slots=True)
class Woken:
    """The answer to a wake."""

    desired: int
    reason: str
    decided_at: float


class Autoscaler:
    """Scalers by (namespace, revision)."""

    def __init__(
        self,
        world: World,
        config: dict[str, ServingConfig],
        pods: PodIndex,
        queue: WorkQueue[Key],
        usage: UsageReader | None = None,
    ) -> None:
        self._world = world
        self._config = config
        self._pods = pods
        self._queue = queue
        self._usage = usage
        self._log = logs.get("knative.autoscaler")
        self._base_s = time.time() - time.monotonic()
        self._ticked: set[Key] = set()
        self._reported = asyncio.Event()
        self._cadence = Cadence()
        self._locks: dict[Key, asyncio.Lock] = {}
        self.scalers: dict[Key, Scaler] = {}

    def now(self) -> float:
        """Unix seconds of a clock that never goes back."""
        return self._base_s + time.monotonic()

    async def run_ticks(self) -> None:
        """Every 2 s, right after a report, a new decision for every revision.

        Without the report the present second would be empty, and a panic window of one second (a stable window below
        15 s) would never see the burst it is for. A gateway that is away delays a tick by ``REPORT_WAIT_S``.
        """
        while True:
            await asyncio.sleep(kpa.TICK_S - REPORT_WAIT_S / 2)
            self._reported.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reported.wait(), REPORT_WAIT_S)
            for key in list(self._world[AUTOSCALERS].store):
                self._ticked.add(key)
                self._queue.add(key)

    async def run_measures(self, period_s: float = hpa.SYNC_S) -> None:
        """Every 15 s, while there are revisions of the HPA class: what their pods take, and a new decision."""
        while self._usage is not None:
            await asyncio.sleep(period_s)
            keys = [key for key, scaler in self.scalers.items() if scaler.scaling.autoscaler_class == HPA]
            if not keys:
                continue
            read = await self._usage.read()
            for key in keys:
                self._measure(key, read)

    def _measure(self, key: Key, read: Mapping[str, PodUsage]) -> None:
        scaler, facts = self.scalers.get(key), self._facts(key)
        deployment = self._deployment(facts.autoscaler) if facts is not None else None
        if scaler is None or facts is None or deployment is None:
            return
        ready = [pod for pod in self._pods.of(deployment) if is_active(pod) and is_pod_ready(pod)]
        scaler.measure(facts, pod_usage.measure(ready, read), self.now())
        self._queue.add(key)

    def record(self, at: float, stats: Sequence[Stat]) -> None:
        """Take one report; a revision with pods that is not in it had no traffic."""
        now = self.now()
        moment = self._cadence.take(now - min(max(0.0, time.time() - at), 60.0))
        reported = {(stat.namespace, stat.revision): stat for stat in stats}
        self._reported.set()
        for key in self._world[AUTOSCALERS].store:
            try:
                self._record(key, moment, reported.get(key), now)
            except Exception as error:  # one object that cannot be read must not hide the others' traffic
                self._log.error("report not taken", key=key, error=repr(error))

    def _record(self, key: Key, moment: float, stat: Stat | None, now: float) -> None:
        facts = self._facts(key)
        if facts is None or (stat is None and facts.replicas == 0):
            return
        scaler = self._scaler(key, facts, now)
        scaler.record(moment, stat.concurrency if stat else 0.0, stat.requests if stat else 0.0)
        if stat and stat.concurrency > 0 and facts.replicas == 0:
            self._ticked.add(key)
            self._queue.add(key)

    async def wake(self, namespace: str, revision: str) -> Woken:
        """A request waits for ``revision``. Raises ``UnknownRevisionError``, ``ApiError``."""
        key = (namespace, revision)
        async with self._lock(key):
            facts = self._facts(key)
            if facts is None:
                raise UnknownRevisionError(
                    f"revision {namespace}/{revision} has no PodAutoscaler: it is new, being deleted, or misspelt"
                )
            now = self.now()
            scaler = self._scaler(key, facts, now)
            if not scaler.is_ours:
                return Woken(facts.replicas, EXTERNAL, time.time())
            decision = scaler.wake(facts, now)
            decided_at = time.time()
            coming = scaler.apply(facts, now)
            wanted = max(1, facts.replicas if coming.replicas is None else coming.replicas)
            if wanted > facts.replicas:
                await self._write_replicas(key, wanted, scaler.why, coming.bounded.reason)
            self._queue.add_after(key, STATUS_LAG_S)
            return Woken(wanted, decision.reason.value, decided_at)

    async def reconcile(self, key: Key) -> float | None:
        """Write what the last decision (a new one after a tick) asks for."""
        if self._world[AUTOSCALERS].get(*key) is None:
            self._drop(key)
            return None
        async with self._lock(key):
            facts = self._facts(key)
            if facts is None:
                return None
            now = self.now()
            scaler = self._scaler(key, facts, now)
            if not scaler.is_ours:
                return None
            if key in self._ticked:
                self._ticked.discard(key)
                scaler.tick(facts, self._cadence.as_of(now))
            coming = scaler.apply(facts, now)
            if coming.replicas is not None:
                await self._write_replicas(key, coming.replicas, scaler.why, coming.bounded.reason)
            await self._write_status(facts, coming)
            return coming.bounded.recheck_s

    def _lock(self, key: Key) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    def _drop(self, key: Key) -> None:
        self.scalers.pop(key, None)
        self._ticked.discard(key)
        lock = self._locks.get(key)
        if lock is not None and not lock.locked():
            del self._locks[key]

    def _facts(self, key: Key) -> Facts | None:
        autoscaler = self._world[AUTOSCALERS].get(*key)
        if autoscaler is None or is_leaving(autoscaler):
            return None
        deployment = self._deployment(autoscaler)
        if deployment is None:
            return None
        ready = sum(1 for pod in self._pods.of(deployment) if is_active(pod) and is_pod_ready(pod))
        deadline_s = progress_deadline_s(autoscaler, self._config["serving"])
        return Facts(autoscaler, int(deployment["spec"].get("replicas", 1)), ready, deadline_s)

    def _deployment(self, autoscaler: Obj) -> Obj | None:
        name = str(mapping(autoscaler["spec"].get("scaleTargetRef")).get("name"))
        return self._world[DEPLOYMENTS].get(autoscaler["metadata"]["namespace"], name)

    def _scaler(self, key: Key, facts: Facts, now: float) -> Scaler:
        annotations = mapping(facts.autoscaler["metadata"].get("annotations"))
        concurrency = int(facts.autoscaler["spec"].get("containerConcurrency") or 0)
        scaling = build_scaling(self._config["serving"].autoscaler, annotations, concurrency)
        scaler = self.scalers.get(key)
        if scaler is None:
            scaler = self.scalers[key] = Scaler(scaling, now, facts.ready)
        scaler.configure(scaling)
        return scaler

    async def _write_replicas(
        self, key: Key, replicas: int, why: tuple[str, str], bound: bounds.Reason
    ) -> None:
        autoscaler = self._world[AUTOSCALERS].get(*key)
        deployment = self._deployment(autoscaler) if autoscaler is not None else None
        if deployment is None:
            return
        await self._world.patch(DEPLOYMENTS, deployment, {"spec": {"replicas": replicas}})
        self._log.info(
            "revision scaled",
            namespace=key[0],
            revision=key[1],
            replicas=replicas,
            reason=why[0],
            bound=bound.value,
            why=why[1],
        )

    async def _write_status(self, facts: Facts, coming: Next) -> None:
        autoscaler, decided = facts.autoscaler, coming.status
        old = mapping(autoscaler.get("status"))
        active = Condition("Active", decided.activity.value, decided.reason.value, decided.message)
        initialized = Condition(INITIALIZED, TRUE if decided.is_initialized else "Unknown")
        parts = [active, Condition(SKS, TRUE), initialized]
        found = [conditions.roll_up("Ready", parts), *parts]
        name = autoscaler["metadata"]["name"]
        status: Obj = {
            "observedGeneration": autoscaler["metadata"]["generation"],
            "serviceName": name,
            "metricsServiceName": f"{name}-private",
            "actualScale": facts.ready,
            "desiredScale": coming.bounded.want,
            "conditions": conditions.merge(old.get("conditions"), found, rfc3339()),
        }
        await self._world.write_status(AUTOSCALERS, autoscaler, status)
