"""Looks at the cluster Wakeful was installed into, and tells everybody what is wrong with it.

Run by ``__main__``; what is wrong is decided by ``prerequisites``. It is told in four places: the log, the condition
``PlatformReady`` of the Deployment ``wakeful-controller`` (with an Event), ``/healthz`` while a finding blocks, and the
metric. On one machine there is no Deployment; the rest is the same. What does not block and may only be on its way (Knative
and Wakeful start at the same time) is an error of the log when it has stayed for ``SETTLE_S``. Invariant: while the API
server is away the last judgement stands, so a blink of it makes nobody stand aside or start to act.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from controller.connection import JSON, Api, ApiFailureError
from controller.facts import FORBIDDEN, KNATIVE_GROUP
from controller.prerequisites import (
    ISVC_DEFINITION,
    KSERVE_WEBHOOKS,
    Finding,
    Found,
    Reason,
    judge,
    serves,
)
from controller.reconcile import rfc3339_now
from wakeful.kit import logs
from wakeful.kit.kube import CONFIGMAPS, CRDS, DEPLOYMENTS, EVENTS, Obj, Resource

EVERY_S = 10.0
RETRY_S = 1.0
SETTLE_S = 10.0
"""Knative's ConfigMaps come within this of the API server."""
NAME = "wakeful-controller"
CONDITION = "PlatformReady"
KNATIVE_NAMESPACE = "knative-serving"
INGRESSES_GROUP = "/apis/networking.internal.knative.dev/v1alpha1"
VALIDATING = Resource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False
)
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
STRATEGIC = "application/strategic-merge-patch+json"
MESSAGE_LIMIT = 1000

log = logs.get("controller.platform")


async def look(api: Api) -> Found:
    """What the judgement needs, read from the API server. Raises ``ApiFailureError``."""
    services, ingresses, (network, is_readable), definition, kserve = await asyncio.gather(
        api.get(KNATIVE_GROUP),
        api.get(INGRESSES_GROUP),
        _network(api),
        api.get(CRDS.path(None, ISVC_DEFINITION), accept=METADATA_ONLY),
        api.get(VALIDATING.path(None, KSERVE_WEBHOOKS)),
    )
    return Found(
        serves(services, "services"), serves(ingresses, "ingresses"), network, definition, kserve, is_readable
    )


async def _network(api: Api) -> tuple[Obj | None, bool]:
    """Knative's ConfigMap of networking, and whether it may be read."""
    try:
        return await api.get(CONFIGMAPS.path(KNATIVE_NAMESPACE, "config-network")), True
    except ApiFailureError as error:
        if error.code == FORBIDDEN:
            return None, False
        raise


class PlatformWatch:
    """The last judgement; ``problems`` may be read at any time."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        is_leader: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._clock = clock
        self._since: dict[Finding, float] = {}
        self._logged: frozenset[Finding] = frozenset()
        self._namespace = namespace
        self._is_leader = is_leader
        self._told: tuple[Finding, ...] | None = None
        self.problems: tuple[Finding, ...] = ()

    @property
    def blocking(self) -> str:
        """Why nothing may be done here; "" where all may."""
        return next((item.message for item in self.problems if item.is_blocking), "")

    async def refresh(self) -> bool:
        """Judge anew; whether the judgement changed. Raises ``ApiFailureError``."""
        problems = judge(await look(self._api))
        is_changed = problems != self.problems
        self._log(problems)
        if is_changed and not problems:
            log.info("the platform is as it must be")
        self.problems = problems
        return is_changed

    def _log(self, problems: tuple[Finding, ...]) -> None:
        """One error line for each finding that blocks or has stayed."""
        now = self._clock()
        self._since = {item: self._since.get(item, now) for item in problems}
        stayed = {item for item in problems if item.is_blocking or now - self._since[item] >= SETTLE_S}
        for item in problems:
            if item in stayed - self._logged:
                log.error("the platform is not as it must be", reason=item.reason, problem=item.message)
            elif self._since[item] == now and item not in stayed:
                log.debug("the platform is not as it must be yet", reason=item.reason)
        self._logged = frozenset(stayed)

    async def run(self, on_change: Callable[[], None], every_s: float = EVERY_S) -> None:
        """Refresh and tell for ever."""
        while True:
            try:
                if await self.refresh():
                    on_change()
                if self._is_leader() and self._told != self.problems:
                    await self._tell()
                    self._told = self.problems
                pause_s = RETRY_S if self.blocking else every_s
            except ApiFailureError as error:
                log.debug("platform not looked at", error=str(error))
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def _tell(self) -> None:
        """Write the condition of our Deployment and an Event, where they say something else than now."""
        path = DEPLOYMENTS.path(self._namespace, NAME, "status")
        deployment = await self._api.get(path)
        if deployment is None:
            return  # one machine: the supervisor runs us
        wanted = condition(self.problems, rfc3339_now())
        before: Obj = next(
            (
                item
                for item in (deployment.get("status") or {}).get("conditions") or []
                if item["type"] == CONDITION
            ),
            {},
        )
        if all(before.get(key) == wanted[key] for key in ("status", "reason", "message")):
            return
        if before.get("status") == wanted["status"]:
            wanted["lastTransitionTime"] = before.get("lastTransitionTime") or wanted["lastTransitionTime"]
        await self._api.request("PATCH", path, {"status": {"conditions": [wanted]}}, STRATEGIC)
        if before or self.problems:
            await self._api.request(
                "POST", EVENTS.path(self._namespace), self._event(deployment, wanted), JSON
            )

    def _event(self, deployment: Obj, wanted: Obj) -> Obj:
        at = rfc3339_now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{NAME}.{secrets.token_hex(8)}", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": NAME,
                "namespace": self._namespace,
                "uid": deployment["metadata"].get("uid"),
            },
            "type": "Normal" if wanted["status"] == "True" else "Warning",
            "reason": wanted["reason"],
            "message": wanted["message"],
            "source": {"component": NAME},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }


def condition(problems: tuple[Finding, ...], at: str) -> Obj:
    """The condition ``PlatformReady`` that says ``problems``."""
    message = (
        "; ".join(item.message for item in problems) or "Knative is usable, and no other KServe is installed"
    )
    return {
        "type": CONDITION,
        "status": "False" if problems else "True",
        "reason": str(problems[0].reason if problems else Reason.READY),
        "message": message[:MESSAGE_LIMIT],
        "lastUpdateTime": at,
        "lastTransitionTime": at,
    }
