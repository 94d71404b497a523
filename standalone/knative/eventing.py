"""Eventing's control plane on one machine: Broker and Trigger controllers, and Brokers for namespaces that ask for one.

Composed by ``standalone.knative.__main__`` as ``run(client, settings)``. It resolves destinations and writes status;
the event path (``eventing``) reads the addresses there and never asks again.
Left out: channels, Subscription objects, EventPolicies.
Invariant: a second pass over an unchanged world writes nothing; a Trigger whose subscriber appears later is looked at
again at once when there is a cache of that kind, else within ``RECHECK_S``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Protocol

from standalone.knative import eventing_resolve as resolve
from standalone.knative import eventing_status as status
from standalone.knative.eventing_resolve import Resolver
from standalone.knative.eventing_status import Found, TriggerFacts
from standalone.knative.world import is_leaving, rfc3339
from wakeful.core.api import conditions, eventing
from wakeful.core.api.conditions import FALSE, TRUE, UNKNOWN, Condition
from wakeful.core.api.isvc_problem import mapping
from wakeful.kit import logs
from wakeful.kit.informer import Informer, OnChange
from wakeful.kit.kube import NAMESPACES, SERVICES, ApiError, KubeClient, Obj, Resource
from wakeful.kit.workqueue import WorkQueue, run_workers

BROKERS = Resource(eventing.GROUP, "v1", "brokers")
TRIGGERS = Resource(eventing.GROUP, "v1", "triggers")
REFERABLE = {
    ("v1", "Service"): SERVICES,
    ("serving.knative.dev/v1", "Service"): Resource("serving.knative.dev", "v1", "services"),
    ("serving.kserve.io/v1beta1", "InferenceService"): Resource(
        "serving.kserve.io", "v1beta1", "inferenceservices"
    ),
    (eventing.API_VERSION, "Broker"): BROKERS,
}
RECHECK_S = 5.0
Key = tuple[str, str, str]
"""(kind, namespace, name); kind ``Broker``, ``Trigger`` or ``Namespace``."""


class Settings(Protocol):
    """What is needed of the process's settings."""

    @property
    def gateway_port(self) -> int: ...


async def run(client: KubeClient, settings: Settings) -> None:
    """Control Eventing until cancelled."""
    await Eventing(client, settings.gateway_port).run()


class Eventing:
    """The caches, the queue, and one ``reconcile`` for all kinds."""

    def __init__(self, client: KubeClient, gateway_port: int) -> None:
        self._client = client
        self._gateway_port = gateway_port
        self._queue: WorkQueue[Key] = WorkQueue()
        self._brokers = Informer(client, BROKERS, self._on_broker)
        self._triggers = Informer(client, TRIGGERS, self._on_trigger)
        self._namespaces = Informer(client, NAMESPACES, self._on_namespace)
        self._referable = {
            key: Informer(client, resource, self._on_referable(key[1]))
            for key, resource in REFERABLE.items()
            if resource is not BROKERS
        }
        caches = {key: informer.get for key, informer in self._referable.items()}
        self._resolver = Resolver(client, {**caches, (eventing.API_VERSION, "Broker"): self._brokers.get})

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for informer in (self._brokers, self._triggers, self._namespaces, *self._referable.values()):
                group.create_task(informer.run())
            await self._brokers.synced()
            await self._triggers.synced()
            group.create_task(run_workers(self._queue, self.reconcile, logs.get("eventing")))

    async def reconcile(self, key: Key) -> float | None:
        """Make one object right; seconds until it must be looked at again, or None."""
        kind, namespace, name = key
        if kind == "Namespace":
            await self._inject(namespace, name)
            return None
        if kind == "Broker":
            return await self._reconcile_broker(self._brokers.get(namespace, name))
        return await self._reconcile_trigger(self._triggers.get(namespace, name))

    async def _reconcile_broker(self, broker: Obj | None) -> float | None:
        if broker is None or is_leaving(broker) or not eventing.is_ours(broker):
            return None
        namespace = broker["metadata"]["namespace"]
        sink = mapping(mapping(broker.get("spec")).get("delivery")).get("deadLetterSink")
        found = await self._dead_letter(sink, namespace)
        wanted = status.build_broker_status(broker, self._gateway_port, found, rfc3339())
        await self._write(BROKERS, self._brokers, broker, wanted)
        return self._recheck_s([mapping(sink)])

    async def _reconcile_trigger(self, trigger: Obj | None) -> float | None:
        if trigger is None or is_leaving(trigger):
            return None
        namespace = trigger["metadata"]["namespace"]
        spec = mapping(trigger.get("spec"))
        await self._inject_for(trigger)
        broker = self._brokers.get(namespace, status.broker_name(trigger))
        if broker is not None and (not eventing.is_ours(broker) or is_leaving(broker)):
            broker = None
        subscriber = mapping(spec.get("subscriber"))
        sink = mapping(spec.get("delivery")).get("deadLetterSink")
        facts = TriggerFacts(
            broker,
            await self._resolver.resolve(subscriber, namespace, resolve.SUBSCRIBER_REASON),
            await self._dead_letter(sink, namespace) or _inherited(broker),
            await self._dependency(trigger),
        )
        await self._write(
            TRIGGERS, self._triggers, trigger, status.build_trigger_status(trigger, facts, rfc3339())
        )
        if not facts.dependency.is_true:
            return RECHECK_S
        return self._recheck_s([subscriber, mapping(sink)])

    async def _dead_letter(self, sink: object, namespace: str) -> Found | None:
        if not isinstance(sink, dict):
            return None
        return await self._resolver.resolve(sink, namespace, resolve.DEAD_LETTER_REASON)

    async def _dependency(self, trigger: Obj) -> Condition:
        """DependencyReady of annotation ``knative.dev/dependency``."""
        kind = "DependencyReady"
        text = mapping(trigger["metadata"].get("annotations")).get(eventing.DEPENDENCY)
        if text is None:
            return Condition(kind, TRUE)
        try:
            reference = mapping(json.loads(str(text)))
            found = await self._resolver.read(reference, trigger["metadata"]["namespace"])
        except ValueError as error:
            return Condition(kind, FALSE, "ReferenceError", f"Unable to unmarshal objectReference: {error}")
        except LookupError as error:
            return Condition(kind, FALSE, "DependencyDoesNotExist", f"Dependency does not exist: {error}")
        generation = mapping(found.get("status")).get("observedGeneration")
        if generation is not None and generation != found["metadata"].get("generation"):
            text = "The dependency has not been reconciled for its present generation."
            return Condition(kind, UNKNOWN, "GenerationNotEqual", text)
        ready = conditions.read(found.get("status"), "Ready")
        return Condition(kind, ready.status, ready.reason, ready.message)

    async def _write(self, resource: Resource, informer: Informer, obj: Obj, wanted: Obj) -> None:
        """Write ``wanted`` as the status if it differs."""
        if obj.get("status") == wanted:
            return
        body = {**obj, "status": wanted}
        try:
            made = await self._client.replace(resource, obj["metadata"]["namespace"], body, "status")
        except ApiError as error:
            if error.code != 404:
                raise
            return
        informer.observe(made)

    async def _inject_for(self, trigger: Obj) -> None:
        annotations = mapping(trigger["metadata"].get("annotations"))
        if annotations.get(eventing.INJECTION) == "enabled" and status.broker_name(trigger) == "default":
            await self._create_default_broker(trigger["metadata"]["namespace"])

    async def _inject(self, _: str, name: str) -> None:
        namespace = self._namespaces.get("", name)
        if namespace is None or is_leaving(namespace):
            return
        if mapping(namespace["metadata"].get("labels")).get(eventing.INJECTION) == "enabled":
            await self._create_default_broker(name)

    async def _create_default_broker(self, namespace: str) -> None:
        if self._brokers.get(namespace, "default") is not None:
            return
        labels = {eventing.INJECTION: "enabled"}
        body = {
            "apiVersion": eventing.API_VERSION,
            "kind": "Broker",
            "metadata": {"name": "default", "namespace": namespace, "labels": labels},
        }
        try:
            self._brokers.observe(await self._client.create(BROKERS, namespace, body))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    def _recheck_s(self, destinations: list[Obj]) -> float | None:
        """Seconds, when any reference is to a kind without a cache."""
        references = [mapping(item.get("ref")) for item in destinations]
        if any(reference and not self._resolver.is_cached(reference) for reference in references):
            return RECHECK_S
        return None

    def _on_broker(self, _: str, broker: Obj, __: Obj | None) -> None:
        namespace, name = broker["metadata"]["namespace"], broker["metadata"]["name"]
        self._queue.add(("Broker", namespace, name))
        for trigger in self._triggers.items():
            is_its = trigger["metadata"]["namespace"] == namespace and status.broker_name(trigger) == name
            if is_its or ("Broker", namespace, name) in _references(trigger):
                self._queue.add(_key("Trigger", trigger))
        if mapping(broker["metadata"].get("labels")).get(eventing.INJECTION) == "enabled":
            self._queue.add(("Namespace", "", namespace))

    def _on_trigger(self, _: str, trigger: Obj, __: Obj | None) -> None:
        self._queue.add(_key("Trigger", trigger))

    def _on_namespace(self, _: str, namespace: Obj, __: Obj | None) -> None:
        self._queue.add(("Namespace", "", namespace["metadata"]["name"]))

    def _on_referable(self, kind: str) -> OnChange:
        def on_change(_: str, obj: Obj, old: Obj | None) -> None:
            where = (kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            for owner_kind, informer in (("Broker", self._brokers), ("Trigger", self._triggers)):
                for owner in informer.items():
                    if where in _references(owner):
                        self._queue.add(_key(owner_kind, owner))

        return on_change


def _inherited(broker: Obj | None) -> Found | None:
    """The broker's resolved dead-letter sink, which a Trigger without one falls back to."""
    uri = mapping(mapping(broker).get("status")).get("deadLetterSinkUri")
    return Found(str(uri)) if uri else None


def _references(obj: Obj) -> Iterator[Key]:
    """(kind, namespace, name) of every object that ``obj`` sends to or depends on."""
    spec = mapping(obj.get("spec"))
    sink = mapping(spec.get("delivery")).get("deadLetterSink")
    references = [mapping(mapping(destination).get("ref")) for destination in (spec.get("subscriber"), sink)]
    for reference in (*references, _dependency_of(obj)):
        if reference:
            namespace = str(reference.get("namespace") or obj["metadata"]["namespace"])
            yield str(reference.get("kind")), namespace, str(reference.get("name"))


def _dependency_of(obj: Obj) -> Obj:
    text = mapping(obj["metadata"].get("annotations")).get(eventing.DEPENDENCY)
    try:
        return mapping(json.loads(str(text))) if text else {}
    except ValueError:
        return {}


def _key(kind: str, obj: Obj) -> Key:
    return kind, obj["metadata"]["namespace"], obj["metadata"]["name"]
