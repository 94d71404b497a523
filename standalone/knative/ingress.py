"""Ingress controller: what a cluster's networking layer (net-kourier) reports, for every Ingress, whoever made it.

Routes make Ingresses, and so does the InferenceService controller for its own host. The gateway follows each within
milliseconds of its being stored, so that an Ingress that was stored is one that is served. Left out: TLS, and probing
of the data path before Ready.

Invariant: an Ingress of another ingress class is left alone.
"""

from __future__ import annotations

from standalone.knative.build_routing import build_ingress_status
from standalone.knative.resources import INGRESSES, Key
from standalone.knative.world import World, is_leaving, rfc3339
from wakeful.core.api import conditions
from wakeful.core.api.conditions import TRUE, Condition
from wakeful.core.api.isvc_problem import mapping

READY = tuple(Condition(name, TRUE) for name in ("NetworkConfigured", "LoadBalancerReady", "Ready"))


class IngressController:
    def __init__(self, world: World) -> None:
        self._world = world

    async def reconcile(self, key: Key) -> float | None:
        """Write the status of one Ingress; never asks to be called again."""
        ingress = self._world[INGRESSES].get(*key)
        if ingress is None or is_leaving(ingress):
            return None
        old = mapping(ingress.get("status")).get("conditions")
        status = build_ingress_status(ingress, conditions.merge(old, READY, rfc3339()))
        await self._world.write_status(INGRESSES, ingress, status)
        return None
