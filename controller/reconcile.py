"""One reconcile: observe, plan, apply, look again, write the status. Called by the workers with a key.

All decisions are in ``plan``; this module only carries them out through the ``Cluster`` port. Invariant: the status
that is written describes the children as they are after this reconcile's own writes, so a Ready left over from an
older specification is never shown for a newer one; an equal status is not written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from controller import plan
from controller.desired.reasons import Reason
from controller.observed import Child, Failure, Observed, Plan
from controller.ports import ApplyRefusedError, Cluster, ClusterUnavailableError
from wakeful.core.api import instants
from wakeful.core.api.isvc_problem import Obj
from wakeful.kit import logs
from wakeful.kit.kube import key_of

Key = tuple[str, str]
"""Namespace and name of an InferenceService."""

REFUSED_RETRY_S = 30.0
"""A refusal usually lasts until the user changes something, which is seen at once; this is for limits that change."""

log = logs.get("controller")


class Reconciler:
    """Brings one InferenceService at a time to what its spec says."""

    def __init__(self, cluster: Cluster, at: Callable[[], str] | None = None) -> None:
        self._cluster = cluster
        self._at = at or rfc3339_now

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until it should be looked at again, or None. Raises ``ClusterUnavailableError`` to be retried."""
        observed = await self._cluster.observe(*key)
        if observed is None:
            return None
        first = plan.decide(observed, self._at())
        if first.status is None:
            log.debug("left alone", isvc=key, reason=first.reason, why=first.sentence)
            return None
        observed, retry = await self._apply(observed, first)
        for obj in first.delete:
            await self._cluster.delete(obj)
            observed = _without(observed, obj)
        await self._conclude(key, observed)
        if retry is not None:
            raise retry
        return REFUSED_RETRY_S if observed.failures else None

    async def _apply(self, observed: Observed, decided: Plan) -> tuple[Observed, Exception | None]:
        retry: Exception | None = None
        for child in decided.apply:
            try:
                observed = _with(observed, await self._cluster.apply(child.obj))
            except ApplyRefusedError as error:
                observed = _failed(observed, child, str(error))
            except ClusterUnavailableError as error:
                observed = _failed(observed, child, str(error))
                retry = error
        return observed, retry

    async def _conclude(self, key: Key, observed: Observed) -> None:
        final = plan.decide(observed, self._at())
        if final.status is None or final.status == observed.isvc.get("status"):
            return
        if not await self._cluster.patch_status(observed.isvc, final.status):
            return
        log.info("status written", isvc=key, reason=final.reason, why=final.sentence)
        for note in final.events:
            await self._cluster.emit(observed.isvc, note)


def _with(observed: Observed, live: Obj) -> Observed:
    kind = live.get("kind")
    if kind == "Ingress":
        return replace(observed, ingress=live)
    if kind == "Service" and live.get("apiVersion") == "v1":
        return replace(observed, alias=live)
    return replace(observed, services={**observed.services, live["metadata"]["name"]: live})


def _failed(observed: Observed, child: Child, message: str) -> Observed:
    failure = Failure(Reason.RECONCILE_FAILED, message)
    log.warning("child refused", child=key_of(child.obj), kind=child.obj["kind"], error=message)
    return replace(observed, failures={**observed.failures, child.component: failure})


def _without(observed: Observed, obj: Obj) -> Observed:
    name = obj["metadata"]["name"]
    if obj is observed.ingress:
        return replace(observed, ingress=None)
    if obj is observed.alias:
        return replace(observed, alias=None)
    return replace(observed, services={key: item for key, item in observed.services.items() if key != name})


def rfc3339_now() -> str:
    """Now, in the form and resolution of Kubernetes' timestamps."""
    return instants.render(datetime.now(UTC))
