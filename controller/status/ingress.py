"""IngressReady, once every component is ready: does the Knative Ingress of the InferenceService lead anywhere yet?

Called by ``plan``. Invariant: an Ingress that belongs to someone else is never taken over; the condition names it.
"""

from __future__ import annotations

from controller.desired import service as services
from controller.desired.reasons import Reason
from controller.status.components import INGRESS_READY
from wakeful.core.api.conditions import FALSE, TRUE, UNKNOWN, Condition, read
from wakeful.core.api.inferenceservice import InferenceService
from wakeful.core.api.isvc_problem import Obj, mapping, mappings, text


def of_ingress(service: InferenceService, ingress: Obj | None) -> Condition:
    """The condition, from the Ingress as it is."""
    if ingress is None:
        return Condition(
            INGRESS_READY, UNKNOWN, Reason.INGRESS_NOT_OBSERVED, "the Ingress does not exist yet"
        )
    if not services.is_owned(ingress, service):
        message = (
            f"an Ingress {service.name} exists that belongs to something else (a Knative Service or DomainMapping of "
            "that name?); rename one of the two"
        )
        return Condition(INGRESS_READY, FALSE, Reason.NOT_OWNED, message)
    status = mapping(ingress.get("status"))
    ready = read(status, "Ready")
    if ready.is_true and is_acted_on(ingress):
        return Condition(INGRESS_READY, TRUE)
    if ready.is_false:
        return Condition(INGRESS_READY, FALSE, ready.reason or Reason.INGRESS_NOT_READY, ready.message)
    message = ready.message or "Knative's ingress has not reported the Ingress ready yet"
    return Condition(INGRESS_READY, UNKNOWN, ready.reason or Reason.INGRESS_NOT_READY, message)


def is_acted_on(ingress: Obj | None) -> bool:
    """Whether the networking layer has acted on the Ingress as it is now; True when there is none."""
    if ingress is None:
        return True
    generation = mapping(ingress.get("metadata")).get("generation")
    return bool(mapping(ingress.get("status")).get("observedGeneration") == generation)


def internal_domain(ingress: Obj | None) -> str:
    """The cluster-local name of the load balancer behind the Ingress, "" while it is unknown."""
    balancer = mapping(mapping(mapping(ingress).get("status")).get("privateLoadBalancer"))
    for item in mappings(balancer.get("ingress")):
        if item.get("domainInternal"):
            return text(item["domainInternal"])
    return ""
