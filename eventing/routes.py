"""Which Triggers get which events: the table that Broker and Trigger objects make, read by ingress and dispatcher.

Filled by ``eventing.watch`` on every change; parsing happens here once, not per event. The subscriber's and the
dead-letter sink's addresses are those the Trigger controller wrote to ``status``.
Invariant: a subscription is listed under exactly the broker its Trigger names, and a Trigger that cannot be parsed is
listed with a ``problem`` and gets no retries rather than vanishing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wakeful.core.delivery import filters, policy
from wakeful.core.delivery.filters import Filter
from wakeful.core.delivery.policy import Policy
from wakeful.core.protocol.cloudevents import Event

Obj = dict[str, Any]
INFERENCE_SERVICE = "InferenceService"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One Trigger, ready for use. ``model`` is set when the subscriber is an InferenceService without uri."""

    consumer: str
    namespace: str
    trigger: str
    uid: str
    broker: str
    filter: Filter
    policy: Policy
    subscriber_uri: str | None
    dead_letter_uri: str | None
    names_dead_letter: bool
    """A sink is named, also when it has no address yet: then events wait for it."""
    model: str | None
    problem: str


def consumer_of(trigger: Obj) -> str:
    """The consumer of one incarnation of a Trigger: ``NAMESPACE/NAME/UID``."""
    metadata = trigger["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}/{metadata.get('uid', '')}"


def broker_of(trigger: Obj) -> str:
    """``NAMESPACE/NAME`` of the broker a Trigger names."""
    spec = _mapping(trigger.get("spec"))
    name = spec.get("broker") or _mapping(spec.get("brokerRef")).get("name") or ""
    return f"{trigger['metadata'].get('namespace', '')}/{name}"


class Routes:
    """The table. Single event loop; replaced entry by entry."""

    def __init__(self) -> None:
        self._brokers: dict[str, Obj] = {}
        self._triggers: dict[str, Obj] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._by_broker: dict[str, dict[str, Subscription]] = {}
        self.is_synced = False
        """Set once both kinds have been listed; until then no event can be accepted."""

    def has_broker(self, broker: str) -> bool:
        return broker in self._brokers

    def reply_url(self, broker: str) -> str:
        """The broker's own address, for error messages; its key where it has none yet."""
        address = _mapping(_mapping(self._brokers.get(broker, {}).get("status")).get("address"))
        return str(address.get("url") or broker)

    def subscription(self, consumer: str) -> Subscription | None:
        return self._subscriptions.get(consumer)

    def consumers(self) -> set[str]:
        """Every consumer whose Trigger and Broker exist."""
        return {consumer for consumer, item in self._subscriptions.items() if item.broker in self._brokers}

    def brokers(self) -> list[str]:
        return list(self._brokers)

    def consumers_for(self, broker: str, event: Event, besides: str = "") -> tuple[str, ...]:
        """Who gets ``event``; ``besides`` is a consumer to leave out."""
        listed = self._by_broker.get(broker, {}).values()
        return tuple(
            item.consumer for item in listed if item.consumer != besides and filters.wants(item.filter, event)
        )

    def put_broker(self, broker: Obj) -> list[str]:
        """Add or replace a Broker; the consumers whose settings may have changed."""
        key = _key(broker)
        self._brokers[key] = broker
        changed = list(self._by_broker.get(key, {}))
        for consumer in changed:
            self._build(consumer)
        return changed

    def drop_broker(self, broker: Obj) -> list[str]:
        """Remove a Broker; its consumers, whose deliveries go with it."""
        self._brokers.pop(_key(broker), None)
        return list(self._by_broker.get(_key(broker), {}))

    def put_trigger(self, trigger: Obj) -> str:
        """Add or replace a Trigger; its consumer."""
        consumer = consumer_of(trigger)
        before = self._subscriptions.get(consumer)
        if before is not None and before.broker != broker_of(trigger):
            self._by_broker[before.broker].pop(consumer, None)
        self._triggers[consumer] = trigger
        self._build(consumer)
        return consumer

    def drop_trigger(self, trigger: Obj) -> str:
        """Remove a Trigger; its consumer."""
        consumer = consumer_of(trigger)
        self._triggers.pop(consumer, None)
        subscription = self._subscriptions.pop(consumer, None)
        if subscription is not None:
            self._by_broker[subscription.broker].pop(consumer, None)
        return consumer

    def _build(self, consumer: str) -> None:
        trigger = self._triggers[consumer]
        subscription = build_subscription(trigger, self._brokers.get(broker_of(trigger), {}))
        self._subscriptions[consumer] = subscription
        self._by_broker.setdefault(subscription.broker, {})[consumer] = subscription


def build_subscription(trigger: Obj, broker: Obj) -> Subscription:
    """The subscription of a Trigger of a Broker ({} when it does not exist)."""
    spec, status = _mapping(trigger.get("spec")), _mapping(trigger.get("status"))
    broker_spec, broker_status = _mapping(broker.get("spec")), _mapping(broker.get("status"))
    subscriber = _mapping(spec.get("subscriber"))
    ref = _mapping(subscriber.get("ref"))
    is_inference = ref.get("kind") == INFERENCE_SERVICE and not subscriber.get("uri")
    problem = ""
    try:
        chosen = policy.effective(spec.get("delivery"), broker_spec.get("delivery"))
    except (ValueError, AttributeError) as error:
        chosen, problem = Policy(), f"spec.delivery is not usable: {error}"
    namespace, name, uid = consumer_of(trigger).split("/", 2)
    dead_letter_uri = policy.dead_letter_uri(
        status.get("deadLetterSinkUri"), broker_status.get("deadLetterSinkUri")
    )
    return Subscription(
        consumer=consumer_of(trigger),
        namespace=namespace,
        trigger=name,
        uid=uid,
        broker=broker_of(trigger),
        filter=filters.build(spec),
        policy=chosen,
        subscriber_uri=status.get("subscriberUri") or None,
        dead_letter_uri=dead_letter_uri,
        names_dead_letter=bool(dead_letter_uri) or _names_sink(spec) or _names_sink(broker_spec),
        model=str(ref["name"]) if is_inference and ref.get("name") else None,
        problem=problem,
    )


def _names_sink(spec: Mapping[str, Any]) -> bool:
    return bool(_mapping(spec.get("delivery")).get("deadLetterSink"))


def _key(obj: Obj) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
