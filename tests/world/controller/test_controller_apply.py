"""From an InferenceService to a ready one: children, conditions, addresses, events; the second look writes nothing."""

from __future__ import annotations

import pytest
from controller_world import World, isvc, world


async def test_a_new_service_gets_its_knative_service_and_says_what_it_waits_for() -> None:
    state = world()
    await state.settle()
    template = state.service()["spec"]["template"]
    container = template["spec"]["containers"][0]
    assert container["args"] == ["--model_name=iris", "--model_dir=/mnt/models", "--http_port=8080"]
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "0"
    assert template["metadata"]["annotations"][
        "internal.serving.kserve.io/storage-initializer-sourceuri"
    ] == ("pvc://models/iris-v1")
    assert state.condition("Ready") == (
        "Unknown",
        "OutOfDate",
        "Knative has not acted on the newest specification yet",
    )
    assert state.status["clusterServingRuntimeName"] == "kserve-sklearnserver"
    assert state.status["observedGeneration"] == 1
    assert ("Ingress", "iris") not in state.objects


async def test_it_becomes_ready_with_url_address_and_one_event() -> None:
    state = await world().serving()
    assert state.status["url"] == "http://iris.ns.localhost:8080"
    assert state.status["address"] == {"url": "http://iris.ns.svc.cluster.local"}
    assert state.status["deploymentMode"] == "Knative"
    assert [note.reason for note in state.events] == ["InferenceServiceReady"]
    predictor = state.status["components"]["predictor"]
    assert predictor["latestRolledoutRevision"] == "iris-predictor-00001"
    assert predictor["url"] == "http://iris-predictor.ns.localhost:8080"


async def test_the_ingress_sends_every_host_to_the_predictor() -> None:
    state = await world().serving()
    rules = state.objects["Ingress", "iris"]["spec"]["rules"]
    assert [(rule["visibility"], rule["hosts"]) for rule in rules] == [
        ("ExternalIP", ["iris.ns.localhost"]),
        ("ClusterLocal", ["iris.ns.svc.cluster.local", "iris.ns.svc", "iris.ns"]),
    ]
    path = rules[0]["http"]["paths"][0]
    assert (path["path"], path["rewriteHost"]) == ("/", "iris-predictor.ns.svc.cluster.local")
    assert path["splits"][0]["serviceName"] == "iris-predictor"
    assert path["splits"][0]["servicePort"] == 80


async def test_the_alias_service_follows_the_ingress() -> None:
    state = await world().serving()
    assert ("Service", "iris") not in state.objects
    state.ingress_ready(domain="gateway.knative-serving.svc.cluster.local")
    await state.settle()
    alias = state.objects["Service", "iris"]["spec"]
    assert alias["externalName"] == "gateway.knative-serving.svc.cluster.local"


async def test_an_edit_is_never_shown_with_the_old_ready() -> None:
    state = await world().serving()
    state.change(timeout=60)
    await state.reconcile()
    assert state.condition("Ready")[:2] == ("Unknown", "OutOfDate")
    assert state.status["observedGeneration"] == 2
    assert state.status["url"] == "http://iris.ns.localhost:8080"


async def test_a_broken_new_revision_keeps_the_old_one_and_says_why() -> None:
    state = await world().serving()
    state.change(timeout=60)
    await state.settle()
    failed = ("False", "RevisionFailed", 'Revision "iris-predictor-00002" failed')
    state.knative(
        "iris-predictor",
        created="iris-predictor-00002",
        ready="iris-predictor-00001",
        Ready=failed,
        ConfigurationsReady=failed,
    )
    await state.settle()
    assert state.condition("PredictorReady") == failed
    assert state.condition("LatestDeploymentReady")[:2] == ("False", "PredictorConfigurationReady not ready")
    assert ("Ingress", "iris") in state.objects
    assert not [write for write in state.writes if write.startswith("delete")]
    assert state.events[-2].reason == "InferenceServiceNotReady"


TRANSFORMER = {"containers": [{"image": "example/transformer:1"}]}


async def test_a_transformer_holds_back_ingress_and_ready() -> None:
    state = world(transformer=TRANSFORMER)
    await state.settle()
    assert state.service("iris-transformer")["spec"]["template"]["spec"]["containers"][0]["args"] == [
        "--model_name",
        "iris",
        "--predictor_host",
        "iris-predictor.ns",
        "--http_port",
        "8080",
    ]
    state.knative("iris-predictor", "iris-predictor-00001")
    await state.settle()
    assert state.condition("IngressReady")[1] == "Transformer ingress not created"
    assert state.condition("Ready")[0] == "Unknown"
    state.knative("iris-transformer", "iris-transformer-00001")
    await state.settle()
    state.ingress_ready()
    await state.settle()
    assert state.condition("Ready")[0] == "True"
    path = state.objects["Ingress", "iris"]["spec"]["rules"][0]["http"]["paths"][0]
    assert path["rewriteHost"] == "iris-transformer.ns.svc.cluster.local"


async def test_an_explainer_gets_its_path_and_is_waited_for() -> None:
    state = world(explainer={"containers": [{"image": "example/explainer:1"}]})
    await state.settle()
    state.knative("iris-predictor", "iris-predictor-00001")
    await state.settle()
    assert state.condition("IngressReady")[1] == "Explainer ingress not created"
    state.knative("iris-explainer", "iris-explainer-00001")
    await state.settle()
    paths = state.objects["Ingress", "iris"]["spec"]["rules"][0]["http"]["paths"]
    assert [(item["path"], item["rewriteHost"]) for item in paths] == [
        ("/v1/models/iris:explain", "iris-explainer.ns.svc.cluster.local"),
        ("/", "iris-predictor.ns.svc.cluster.local"),
    ]


async def test_a_removed_transformer_is_deleted_and_forgotten() -> None:
    state = world(transformer=TRANSFORMER)
    await state.settle()
    assert state.isvc is not None
    del state.isvc["spec"]["transformer"]
    await state.settle()
    assert ("ksvc", "iris-transformer") not in state.objects
    assert state.condition("TransformerReady") == ("", "", "")
    assert "transformer" not in state.status.get("components", {})


async def test_stop_deletes_the_children_and_start_brings_them_back() -> None:
    state = await world().serving()
    assert state.isvc is not None
    state.isvc["metadata"]["annotations"] = {"serving.kserve.io/stop": "TRUE"}
    await state.settle()
    assert state.objects == {}
    assert state.condition("Stopped")[0] == "True"
    assert state.condition("PredictorReady")[:2] == ("False", "Stopped")
    assert not {"url", "address", "components", "modelStatus"} & state.status.keys()
    state.isvc["metadata"]["annotations"] = {}
    await state.settle()
    assert ("ksvc", "iris-predictor") in state.objects
    assert state.condition("Stopped")[0] == "False"


async def test_a_service_of_someone_else_is_left_alone() -> None:
    state = world()
    foreign = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "iris-predictor", "uid": "foreign", "generation": 1},
        "spec": {},
    }
    state.objects["ksvc", "iris-predictor"] = foreign
    await state.settle()
    assert state.condition("PredictorReady")[:2] == ("False", "NotOwned")
    assert state.objects["ksvc", "iris-predictor"] is foreign


async def test_an_ingress_of_someone_else_is_left_alone() -> None:
    state = world()
    state.objects["Ingress", "iris"] = {
        "apiVersion": "networking.internal.knative.dev/v1alpha1",
        "kind": "Ingress",
        "metadata": {"name": "iris", "uid": "foreign", "generation": 1},
        "spec": {},
    }
    await state.settle()
    state.knative("iris-predictor", "iris-predictor-00001")
    await state.settle()
    assert state.condition("IngressReady")[:2] == ("False", "NotOwned")
    assert state.objects["Ingress", "iris"]["metadata"]["uid"] == "foreign"


async def test_auto_update_disabled_leaves_a_ready_service_untouched() -> None:
    state = await world().serving()
    assert state.isvc is not None
    state.isvc["metadata"]["annotations"] = {"serving.kserve.io/disable-auto-update": "true"}
    state.change(timeout=60)
    before = len(state.writes)
    await state.reconcile()
    assert len(state.writes) == before


async def test_a_deleted_service_is_left_to_garbage_collection() -> None:
    state = await world().serving()
    assert state.isvc is not None
    state.isvc["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    before = len(state.writes)
    await state.reconcile()
    assert len(state.writes) == before


async def test_component_urls_when_the_virtual_host_is_disabled() -> None:
    state = World(isvc=isvc(), configmap={"data": {"ingress": '{"disableIstioVirtualHost": true}'}})
    await state.settle()
    state.knative("iris-predictor", "iris-predictor-00001")
    await state.settle()
    assert state.condition("Ready")[0] == "True"
    assert state.status["url"] == "http://iris-predictor.ns.localhost:8080"
    assert state.status["address"] == {"url": "http://iris-predictor.ns.svc.cluster.local"}
    assert ("Ingress", "iris") not in state.objects


@pytest.mark.parametrize("label", ["cluster-local"])
async def test_a_cluster_local_service_has_no_external_host(label: str) -> None:
    state = world()
    assert state.isvc is not None
    state.isvc["metadata"]["labels"] = {"networking.knative.dev/visibility": label}
    await state.serving()
    assert state.status["url"] == "http://iris.ns.svc.cluster.local"
    assert [rule["visibility"] for rule in state.objects["Ingress", "iris"]["spec"]["rules"]] == [
        "ClusterLocal"
    ]
    assert (
        "networking.knative.dev/visibility" not in state.service()["spec"]["template"]["metadata"]["labels"]
    )
    assert state.service()["metadata"]["labels"]["networking.knative.dev/visibility"] == label
