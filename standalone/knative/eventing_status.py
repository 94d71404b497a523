"""Status of Broker and Trigger: conditions, reasons, messages and addresses as Knative writes them.

Called by the Eventing controllers with what they found; pure. Source: reference section 4.2. There is no channel and no
Subscription object on one machine: ``TriggerChannelReady`` and ``FilterReady`` say that the broker process plays them,
and ``SubscriptionReady`` is True once broker and subscriber are.
Invariant: the same facts give the same status, but for ``lastTransitionTime`` of conditions that changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wakeful.core.api import conditions, eventing
from wakeful.core.api.conditions import FALSE, INFO, TRUE, UNKNOWN, Condition
from wakeful.core.api.isvc_problem import Obj, mapping

INGRESS_HOST = f"broker-ingress.{eventing.SYSTEM_NAMESPACE}"
CLUSTER_DOMAIN = "svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Found:
    """A destination's address, or why there is none (``reason`` and ``message``)."""

    uri: str | None
    reason: str = ""
    message: str = ""


def broker_urls(namespace: str, name: str, gateway_port: int) -> tuple[str, str]:
    """(the address in the cluster, the address for curl and browsers on this machine)."""
    port = "" if gateway_port == 80 else f":{gateway_port}"
    path = f"/{namespace}/{name}"
    return f"http://{INGRESS_HOST}.{CLUSTER_DOMAIN}{path}", f"http://{INGRESS_HOST}.localhost{port}{path}"


def build_broker_status(broker: Obj, gateway_port: int, dead_letter: Found | None, at: str) -> Obj:
    """``dead_letter`` None: the broker names no dead-letter sink. ``at``: RFC 3339."""
    metadata = broker["metadata"]
    inside, outside = broker_urls(metadata["namespace"], metadata["name"], gateway_port)
    wanted = [
        Condition("IngressReady", TRUE),
        Condition("TriggerChannelReady", TRUE),
        Condition("FilterReady", TRUE),
        Condition("Addressable", TRUE),
        replace(
            _dead_letter(dead_letter), severity=INFO if dead_letter is None else ""
        ),  # as the real one says
        Condition(
            "EventPoliciesReady",
            TRUE,
            "OIDCDisabled",
            'Feature "authentication-oidc" must be enabled to support Authorization',
        ),
    ]
    status: Obj = {
        "observedGeneration": metadata.get("generation", 1),
        "address": {"name": "http", "url": inside},
        "addresses": [{"name": "http", "url": inside}, {"name": "gateway", "url": outside}],
    }
    if dead_letter is not None and dead_letter.uri:
        status["deadLetterSinkUri"] = dead_letter.uri
    return _with_conditions(broker, status, wanted, at)


@dataclass(frozen=True, slots=True)
class TriggerFacts:
    """What the controller found about a Trigger. ``dead_letter`` None: neither it nor its broker names a sink."""

    broker: Obj | None
    subscriber: Found
    dead_letter: Found | None
    dependency: Condition


def build_trigger_status(trigger: Obj, facts: TriggerFacts, at: str) -> Obj:
    """The whole status of a Trigger."""
    broker = _broker_condition(trigger, facts.broker)
    resolved = _subscriber(facts.subscriber)
    dead_letter = _dead_letter(facts.dead_letter)
    wanted = [
        broker,
        _subscription(broker, resolved),
        facts.dependency,
        resolved,
        dead_letter,
        Condition("OIDCIdentityCreated", TRUE, "authentication-oidc feature disabled"),
    ]
    status: Obj = {"observedGeneration": trigger["metadata"].get("generation", 1)}
    if facts.subscriber.uri:
        status["subscriberUri"] = facts.subscriber.uri
    if facts.dead_letter is not None and facts.dead_letter.uri:
        status["deadLetterSinkUri"] = facts.dead_letter.uri
    return _with_conditions(trigger, status, wanted, at)


def _with_conditions(obj: Obj, status: Obj, wanted: list[Condition], at: str) -> Obj:
    ready = conditions.roll_up("Ready", wanted)
    previous = mapping(obj.get("status")).get("conditions")
    return {**status, "conditions": conditions.merge(previous, [*wanted, ready], at)}


def _broker_condition(trigger: Obj, broker: Obj | None) -> Condition:
    if broker is None:
        name = broker_name(trigger)
        text = f'Broker "{name}" does not exist or there is no matching BrokerClass for it'
        return Condition("BrokerReady", FALSE, "BrokerDoesNotExist", text)
    ready = conditions.read(broker.get("status"), "Ready")
    return Condition("BrokerReady", ready.status, ready.reason, ready.message)


def broker_name(trigger: Obj) -> str:
    """The name of the broker a Trigger is for."""
    spec = mapping(trigger.get("spec"))
    return str(spec.get("broker") or mapping(spec.get("brokerRef")).get("name") or "")


def _subscription(broker: Condition, subscriber: Condition) -> Condition:
    if broker.is_true and subscriber.is_true:
        return Condition("SubscriptionReady", TRUE)
    return Condition("SubscriptionReady", UNKNOWN)


def _subscriber(found: Found) -> Condition:
    if found.uri:
        return Condition("SubscriberResolved", TRUE)
    return Condition("SubscriberResolved", FALSE, found.reason, found.message)


def _dead_letter(found: Found | None) -> Condition:
    kind = "DeadLetterSinkResolved"
    if found is None:
        return Condition(kind, TRUE, "DeadLetterSinkNotConfigured", "No dead letter sink is configured.")
    if found.uri:
        return Condition(kind, TRUE)
    return Condition(kind, FALSE, found.reason, found.message)
