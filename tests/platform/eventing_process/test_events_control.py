"""Broker and Trigger objects on the real API: defaults, refusals, status, and what a subscriber may be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eventing_world import World, is_ready

from standalone.knative.eventing import BROKERS, TRIGGERS
from wakeful.core.api import conditions
from wakeful.kit.kube import NAMESPACES, SERVICES, ApiError, Obj, Resource

KSERVICES = Resource("serving.knative.dev", "v1", "services")
ISVCS = Resource("serving.kserve.io", "v1beta1", "inferenceservices")
URI = {"uri": "http://127.0.0.1:9/"}


def kinds(obj: Obj) -> dict[str, str]:
    return {item["type"]: item["status"] for item in obj["status"]["conditions"]}


def reference(kind: str, api: str, name: str = "x") -> dict[str, Any]:
    return {"ref": {"kind": kind, "apiVersion": api, "name": name}}


async def test_a_broker_without_spec_gets_knatives_defaults(world: World) -> None:
    made = await world.broker()
    assert made["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "MTChannelBasedBroker"
    assert made["spec"]["delivery"] == {
        "retry": 10,
        "backoffPolicy": "exponential",
        "backoffDelay": "PT0.2S",
    }
    assert made["spec"]["config"]["name"] == "config-br-default-channel"
    broker = await world.until(BROKERS, "default", is_ready)
    inside = f"http://broker-ingress.knative-eventing.svc.cluster.local/{world.namespace}/default"
    assert broker["status"]["address"]["url"] == inside
    outside = f"http://broker-ingress.knative-eventing.localhost:8080/{world.namespace}/default"
    assert outside in [item["url"] for item in broker["status"]["addresses"]]
    wanted = ("IngressReady", "TriggerChannelReady", "FilterReady", "Addressable", "EventPoliciesReady")
    assert all(kinds(broker)[kind] == "True" for kind in (*wanted, "DeadLetterSinkResolved", "Ready"))
    assert broker["status"]["observedGeneration"] == broker["metadata"]["generation"]


async def test_a_namespace_label_makes_the_default_broker(world: World) -> None:
    label = {"metadata": {"labels": {"eventing.knative.dev/injection": "enabled"}}}
    await world.client.patch(NAMESPACES, None, world.namespace, label)
    await world.until(BROKERS, "default", is_ready)


async def test_a_trigger_annotation_makes_the_default_broker(world: World) -> None:
    await world.trigger(annotations={"eventing.knative.dev/injection": "enabled"}, subscriber=URI)
    await world.until(BROKERS, "default", is_ready)
    trigger = await world.ready()
    assert trigger["metadata"]["labels"]["eventing.knative.dev/broker"] == "default"


async def test_a_trigger_waits_for_its_broker(world: World) -> None:
    await world.trigger(subscriber=URI)
    missing = await world.condition(TRIGGERS, "t", "BrokerReady", "False")
    assert (missing.reason, "default" in missing.message) == ("BrokerDoesNotExist", True)
    assert (await world.condition(TRIGGERS, "t", "Ready", "False")).reason == "BrokerDoesNotExist"
    await world.broker()
    trigger = await world.ready()
    assert trigger["status"]["subscriberUri"] == URI["uri"]
    await world.client.delete(BROKERS, world.namespace, "default")
    await world.condition(TRIGGERS, "t", "Ready", "False")


async def test_a_broker_of_another_class_is_left_alone(world: World) -> None:
    await world.broker(annotations={"eventing.knative.dev/broker.class": "Kafka"})
    await world.trigger(subscriber=URI)
    assert (await world.condition(TRIGGERS, "t", "BrokerReady", "False")).reason == "BrokerDoesNotExist"
    assert "status" not in await world.client.get(BROKERS, world.namespace, "default")


async def make_service(world: World) -> None:
    spec = {"ports": [{"port": 80}], "selector": {"app": "x"}}
    await world.make(SERVICES, "Service", "x", spec=spec)


async def make_knative_service(world: World) -> None:
    spec = {"template": {"spec": {"containers": [{"image": "i"}]}}}
    status = {"address": {"url": "http://x.elsewhere.svc.cluster.local"}}
    await world.make(KSERVICES, "Service", "x", spec=spec, status=status)


async def make_inference_service(world: World, protocol: str = "v1") -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://m/x", "protocolVersion": protocol}
    status = {"address": {"url": f"http://x.{world.namespace}.svc.cluster.local"}}
    await world.make(ISVCS, "InferenceService", "x", spec={"predictor": {"model": model}}, status=status)


async def make_inference_service_v2(world: World) -> None:
    await make_inference_service(world, "v2")


KNATIVE, KSERVE = "serving.knative.dev/v1", "serving.kserve.io/v1beta1"


@pytest.mark.parametrize(
    ("make", "subscriber", "uri"),
    [
        (make_service, reference("Service", "v1"), "http://x.NS.svc.cluster.local"),
        (make_service, reference("Service", "v1") | {"uri": "/a?b=c"}, "http://x.NS.svc.cluster.local/a?b=c"),
        (make_knative_service, reference("Service", KNATIVE), "http://x.elsewhere.svc.cluster.local"),
        (
            make_inference_service,
            reference("InferenceService", KSERVE),
            "http://x.NS.svc.cluster.local/v1/models/x:predict",
        ),
        (
            make_inference_service_v2,
            reference("InferenceService", KSERVE),
            "http://x.NS.svc.cluster.local/v2/models/x/infer",
        ),
        (
            make_inference_service,
            reference("InferenceService", KSERVE) | {"uri": "/v1/models/x:explain"},
            "http://x.NS.svc.cluster.local/v1/models/x:explain",
        ),
    ],
    ids=["service", "service with path", "knative service", "isvc v1", "isvc v2", "isvc with path"],
)
async def test_subscribers(world: World, make: Any, subscriber: Any, uri: str) -> None:
    await world.broker()
    await world.trigger(subscriber=subscriber)
    unresolved = await world.condition(TRIGGERS, "t", "SubscriberResolved", "False")
    assert unresolved.reason == "Unable to get the Subscriber's URI"
    assert f"{world.namespace}/x" in unresolved.message
    await make(world)
    trigger = await world.ready()
    assert trigger["status"]["subscriberUri"] == uri.replace("NS", world.namespace)


async def test_a_broker_as_subscriber_and_a_kind_without_cache(world: World) -> None:
    await world.broker()
    await world.broker("other")
    await world.trigger(subscriber=reference("Broker", "eventing.knative.dev/v1", "other"))
    assert (await world.ready())["status"]["subscriberUri"].endswith(f"/{world.namespace}/other")
    await world.trigger("odd", subscriber=reference("ConfigMap", "v1"))
    assert "x" in (await world.condition(TRIGGERS, "odd", "SubscriberResolved", "False")).message
    await world.trigger("none", subscriber=reference("Nosuch", "example.com/v1"))
    assert "Nosuch" in (await world.condition(TRIGGERS, "none", "SubscriberResolved", "False")).message


async def test_dead_letter_sinks(world: World) -> None:
    await world.broker(spec={"delivery": {"retry": 1, "deadLetterSink": {"uri": "http://127.0.0.1:9/b"}}})
    await world.trigger("inherits", subscriber=URI)
    assert (await world.ready("inherits"))["status"]["deadLetterSinkUri"] == "http://127.0.0.1:9/b"
    own = {"deadLetterSink": {"uri": "http://127.0.0.1:9/t"}}
    await world.trigger("own", subscriber=URI, delivery=own)
    assert (await world.ready("own"))["status"]["deadLetterSinkUri"] == "http://127.0.0.1:9/t"
    await world.trigger("lost", subscriber=URI, delivery={"deadLetterSink": reference("Service", "v1")})
    unresolved = await world.condition(TRIGGERS, "lost", "DeadLetterSinkResolved", "False")
    assert unresolved.reason == "Unable to get the dead letter sink's URI"
    await make_service(world)
    await world.ready("lost")


async def test_dependency(world: World) -> None:
    await world.broker()
    text = json.dumps({"kind": "Service", "apiVersion": KNATIVE, "name": "x"})
    await world.trigger(annotations={"knative.dev/dependency": text}, subscriber=URI)
    missing = await world.condition(TRIGGERS, "t", "DependencyReady", "False")
    assert missing.reason == "DependencyDoesNotExist"
    await make_knative_service(world)
    ready = {"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}}
    await world.client.patch(KSERVICES, world.namespace, "x", ready, subresource="status")
    await world.until(TRIGGERS, "t", is_ready, within_s=3.0)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"broker": ""}, "missing field(s): spec.broker"),
        ({"brokerRef": {"name": "b"}}, "expected exactly one, got both: spec.broker, spec.brokerRef"),
        ({"subscriber": None}, "missing field(s): spec.subscriber"),
        ({"subscriber": {}}, "expected at least one, got none"),
        ({"subscriber": {"uri": "/relative"}}, "Relative URI is not allowed"),
        ({"subscriber": {"uri": "ftp://x/"}}, "spec.subscriber.uri"),
        ({"subscriber": reference("Service", "v1") | {"uri": "http://x/"}}, "Absolute URI is not allowed"),
        ({"subscriber": {"ref": {"kind": "Service"}}}, "spec.subscriber.ref.name"),
        ({"filter": {"attributes": {"Type": "x"}}}, 'invalid key name "Type": spec.filter.attributes'),
        ({"filters": [{"exact": {"a": "b"}, "not": {"exact": {"a": "b"}}}]}, "multiple dialects"),
        ({"filters": [{"cesql": "type ="}]}, "spec.filters[0].cesql"),
        ({"filters": [{"any": [{"prefix": {"my_ext": "x"}}]}]}, "spec.filters[0].any[0].prefix"),
        ({"delivery": {"retry": -1}}, "invalid value: -1: spec.delivery.retry"),
        ({"delivery": {"backoffPolicy": "fast"}}, "spec.delivery.backoffPolicy"),
        ({"delivery": {"backoffDelay": "5s"}}, "spec.delivery.backoffDelay"),
        ({"delivery": {"timeout": "PT0S"}}, "spec.delivery.timeout"),
        ({"delivery": {"retryAfterMax": "PT1S"}}, "must not set the field(s): spec.delivery.retryAfterMax"),
        ({"delivery": {"deadLetterSink": {}}}, "spec.delivery.deadLetterSink"),
    ],
)
async def test_refused_with_the_field(world: World, spec: Any, words: str) -> None:
    with pytest.raises(ApiError) as refused:
        await world.trigger(**{"subscriber": URI} | spec)
    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")
    assert str(refused.value).startswith('admission webhook "validation.webhook.eventing.knative.dev" denied')
    assert words in str(refused.value)


async def test_what_may_not_change(world: World) -> None:
    await world.broker()
    await world.trigger(subscriber=URI)
    with pytest.raises(ApiError, match="Immutable fields changed"):
        await world.client.patch(TRIGGERS, world.namespace, "t", {"spec": {"broker": "other"}})
    with pytest.raises(ApiError, match="Immutable fields changed"):
        await world.client.patch(BROKERS, world.namespace, "default", {"spec": {"config": {"name": "x"}}})
    await world.client.patch(BROKERS, world.namespace, "default", {"spec": {"delivery": {"retry": 3}}})
    broker = await world.until(
        BROKERS, "default", lambda found: found.get("status", {}).get("observedGeneration") == 2
    )
    assert conditions.read(broker["status"], "Ready").is_true
