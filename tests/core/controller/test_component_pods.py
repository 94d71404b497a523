"""The pod of each component and the Knative Service around it (KServe behaviour page sections 2.3.3 to 2.4)."""

from __future__ import annotations

from typing import Any

import pytest

from controller.desired import configuration, images, placeholders, service
from controller.desired.composition import ComposedPod, Runtimes
from controller.desired.metadata import ScalingFacts
from controller.desired.reasons import SpecError
from wakeful.core.api import inferenceservice, servingruntime
from wakeful.core.api.inferenceservice_defaults import Defaults, default

Obj = dict[str, Any]
MODEL = {"modelFormat": {"name": "foo"}, "storageUri": "s3://b/m"}


def isvc(
    labels: Obj | None = None, annotations: Obj | None = None, **spec: Any
) -> inferenceservice.InferenceService:
    metadata = {
        "name": "iris",
        "namespace": "ns",
        "uid": "u",
        "labels": labels or {},
        "annotations": annotations or {},
    }
    obj = {"metadata": metadata, "spec": {"predictor": {"model": dict(MODEL)}} | spec}
    return inferenceservice.parse(default(obj, Defaults()))


def runtime(name: str = "rt", **spec: Any) -> servingruntime.Runtime:
    container = {"name": "kserve-container", "image": "repo/img:1", "args": ["--model_name={{.Name}}"]}
    base = {
        "supportedModelFormats": [{"name": "foo", "autoSelect": True}],
        "containers": [container | spec.pop("container", {})],
    }
    return servingruntime.parse(
        {"kind": "ClusterServingRuntime", "metadata": {"name": name}, "spec": base | spec}
    )


def pod(
    parsed: inferenceservice.InferenceService, component: str = "predictor", **runtime_spec: Any
) -> ComposedPod:
    runtimes = Runtimes((), [runtime(runtime_spec.pop("name", "rt"), **runtime_spec)])
    part = next(item for item in parsed.components if item.name == component)
    return service.compose(parsed, part, runtimes, "v2")


def env(container: Obj) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container.get("env", [])}


def test_the_users_model_is_merged_over_the_runtime() -> None:
    model = MODEL | {
        "args": ["--x"],
        "env": [{"name": "A", "value": "1"}],
        "resources": {"limits": {"cpu": "2"}},
    }
    found = pod(
        isvc(predictor={"model": model, "nodeSelector": {"a": "b"}}), nodeSelector={"c": "d"}, hostIPC=True
    )
    main = found.spec["containers"][0]
    assert main["name"] == "kserve-container" and main["args"] == ["--model_name=iris", "--x"]
    assert env(main) == {"A": "1", "INFERENCE_SERVICE_NAME": "iris"}
    assert main["resources"] == {"limits": {"cpu": "2"}}
    assert found.spec["nodeSelector"] == {"a": "b", "c": "d"} and found.spec["hostIPC"] is True
    assert found.annotations == {"internal.serving.kserve.io/storage-initializer-sourceuri": "s3://b/m"}


def test_containers_keep_their_order() -> None:
    users = [
        {"name": "side", "image": "s"},
        {"name": "transformer-container", "image": "t"},
        {"name": "extra", "image": "e"},
    ]
    containers = [{"name": "extra", "image": "x", "args": ["1"]}, {"name": "kserve-container", "image": "k"}]
    found = pod(isvc(predictor={"model": dict(MODEL), "containers": users}), containers=containers)
    names = [(item["name"], item["image"]) for item in found.spec["containers"]]
    assert names == [("kserve-container", "k"), ("transformer-container", "t"), ("extra", "e"), ("side", "s")]
    assert all("INFERENCE_SERVICE_NAME" in env(item) for item in found.spec["containers"])


SERVERS = {
    "mlserver with a model": (
        "kserve-mlserver",
        "sklearn",
        True,
        {"MLSERVER_MODEL_NAME": "iris", "MLSERVER_MODEL_URI": "/mnt/models"},
        "v2",
    ),
    "mlserver without": (
        "kserve-mlserver",
        "sklearn",
        False,
        {"MLSERVER_LOAD_MODELS_AT_STARTUP": "false"},
        "v2",
    ),
    "torchserve": ("kserve-torchserve", "pytorch", True, {"PROTOCOL_VERSION": "v1"}, "v1"),
    "any other": ("mine", "sklearn", True, {}, "v1"),
}


@pytest.mark.parametrize(
    ("name", "format_", "stored", "variables", "protocol"), SERVERS.values(), ids=list(SERVERS)
)
def test_server_types(name: str, format_: str, stored: bool, variables: Obj, protocol: str) -> None:
    model = {"modelFormat": {"name": format_}, "runtime": name} | (
        {"storageUri": "s3://b/m"} if stored else {}
    )
    container = {"args": ["{{.Labels.modelClass}}{{.Labels.serviceEnvelope}}"]}
    found = pod(
        isvc(predictor={"model": model}),
        name=name,
        container=container,
        supportedModelFormats=[{"name": format_}],
    )
    main = found.spec["containers"][0]
    assert env(main) == variables | {"INFERENCE_SERVICE_NAME": "iris"}
    assert found.protocol == protocol
    envelope = {"kserve-mlserver": "mlserver_sklearn.SKLearnModel", "kserve-torchserve": "kserve"}.get(
        name, ""
    )
    assert main["args"] == [envelope]


IMAGES = [
    ("r/i:1", "x", "2", False, "r/i:2"),
    ("h:5000/r/i", "x", "2", False, "h:5000/r/i:2"),
    ("r/i@sha256:0", "x", "2", True, "r/i@sha256:0"),
    ("r/i:1", "torchserve", "", True, "r/i:1-gpu"),
    ("r/i:1-gpu", "torchserve", "", True, "r/i:1-gpu"),
    ("r/i:1", "kserve-torchserve", "", True, "r/i:1"),
    ("r/vllm-openai:1", "vllmserver", "", False, "r/vllm-openai-cpu:1"),
    ("r/vllm-openai:1", "vllmserver", "", True, "r/vllm-openai:1"),
    ("r/vllm-openai", "vllmserver", "", False, "r/vllm-openai"),
    ("", "x", "2", False, ""),
]


@pytest.mark.parametrize(("image", "server", "version", "gpu", "wanted"), IMAGES)
def test_images(image: str, server: str, version: str, gpu: bool, wanted: str) -> None:
    assert images.choose(image, server, version, gpu) == wanted


def test_placeholders_are_plain_substitution() -> None:
    parsed = isvc(labels={"a": 'x"<y>'}, annotations={"b.c/d": "z"})
    text = '{{.Name}}/{{ .Namespace }}/{{.Labels.a}}/{{index .Annotations "b.c/d"}}/{{.Labels.none}}/{% {{ "x" }} %}'
    assert placeholders.render({"k": [text]}, parsed) == {"k": ['iris/ns/x"<y>/z//{% {{ "x" }} %}']}
    with pytest.raises(SpecError, match=r"\.Nmae"):
        placeholders.render("{{.Nmae}}", parsed)


def test_flags_of_a_custom_transformer() -> None:
    transformer = {"containers": [{"image": "t", "args": ["--http_port=9"]}], "containerConcurrency": 3}
    found = pod(isvc(transformer=transformer), "transformer")
    main = found.spec["containers"][0]
    assert main["args"] == [
        "--http_port=9",
        "--model_name",
        "iris",
        "--predictor_host",
        "iris-predictor.ns",
        "--workers",
        "3",
    ]
    assert found.annotations["internal.serving.kserve.io/predictor-protocol"] == "v2"


@pytest.mark.parametrize(
    "given", [{"containerConcurrency": 0}, {"args": ["--workers=1"], "containerConcurrency": 3}]
)
def test_no_limit_is_no_number_of_processes_and_ones_own_flag_counts(given: Obj) -> None:
    args = given.get("args", [])
    container = {"image": "t", "args": args}
    transformer = {"containers": [container], "containerConcurrency": given["containerConcurrency"]}
    found = pod(isvc(transformer=transformer), "transformer").spec["containers"][0]["args"]
    assert [item for item in found if "workers" in item] == args


def test_source_and_protocol_of_a_custom_predictor() -> None:
    variables = [{"name": "STORAGE_URI", "value": "s3://b/m"}, {"name": "PROTOCOL", "value": "v2"}]
    found = pod(isvc(predictor={"containers": [{"image": "c", "env": variables}]}))
    assert found.protocol == "v2" and "args" not in found.spec["containers"][0]
    assert found.annotations == {"internal.serving.kserve.io/storage-initializer-sourceuri": "s3://b/m"}


def built(
    parsed: inferenceservice.InferenceService, config: Obj | None = None, rolled_out: str = "", **facts: Any
) -> Obj:
    part = parsed.predictor
    runtimes = Runtimes(
        (), [runtime(labels={"l": "runtime"}, annotations={"prometheus.kserve.io/port": "8080"})]
    )
    composed = service.compose(parsed, part, runtimes, "v1")
    return service.build(
        parsed, part, composed, configuration.parse(config), ScalingFacts(**facts), rolled_out
    )


def test_the_knative_service_of_a_plain_predictor() -> None:
    found = built(isvc())
    assert found["metadata"]["name"] == "iris-predictor"
    assert (
        found["metadata"]["ownerReferences"][0] | {"uid": "u", "controller": True}
        == found["metadata"]["ownerReferences"][0]
    )
    assert found["metadata"]["annotations"] == {}
    assert found["spec"]["template"]["metadata"]["annotations"] == {
        "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev",
        "autoscaling.knative.dev/min-scale": "1",
        "internal.serving.kserve.io/storage-initializer-sourceuri": "s3://b/m",
        "prometheus.kserve.io/port": "8080",
    }
    assert found["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]
    assert not {"containerConcurrency", "timeoutSeconds"} & found["spec"]["template"]["spec"].keys()


def test_numbers_of_the_component_reach_the_template() -> None:
    numbers = {
        "minReplicas": 0,
        "maxReplicas": 3,
        "scaleTarget": 7,
        "scaleMetric": "rps",
        "containerConcurrency": 2,
        "timeout": 60,
    }
    found = built(isvc(predictor={"model": dict(MODEL), **numbers}))["spec"]["template"]
    scaling = {
        key.removeprefix("autoscaling.knative.dev/"): value
        for key, value in found["metadata"]["annotations"].items()
    }
    assert {key: scaling[key] for key in ("min-scale", "max-scale", "target", "metric")} == {
        "min-scale": "0",
        "max-scale": "3",
        "target": "7",
        "metric": "rps",
    }
    assert found["spec"]["containerConcurrency"] == 2
    assert found["spec"]["timeoutSeconds"] == found["spec"]["responseStartTimeoutSeconds"] == 60


def test_precedence_and_filters_of_labels_and_annotations() -> None:
    labels = {
        "l": "isvc",
        "component": "mine",
        "networking.knative.dev/visibility": "cluster-local",
        "secret": "x",
    }
    annotations = {
        "autoscaling.knative.dev/min-scale": "9",
        "autoscaling.knative.dev/window": "6s",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "serving.knative.dev/rollout-duration": "10s",
        "a": "isvc",
        "private": "x",
    }
    predictor = {"model": dict(MODEL), "labels": {"m": "component"}, "annotations": {"a": "component"}}
    lists = '{"serviceAnnotationDisallowedList": ["private"], "serviceLabelDisallowedList": ["secret"]}'
    found = built(isvc(labels, annotations, predictor=predictor), {"data": {"inferenceService": lists}})
    template = found["spec"]["template"]["metadata"]
    assert template["labels"] == {
        "l": "isvc",
        "m": "component",
        "component": "predictor",
        "serving.kserve.io/inferenceservice": "iris",
    }
    assert found["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"
    kept = template["annotations"]
    assert kept["a"] == "component" and kept["autoscaling.knative.dev/window"] == "6s"
    assert kept["autoscaling.knative.dev/min-scale"] == "1"
    assert not {"private", "modelFormat", "kubectl.kubernetes.io/last-applied-configuration"} & kept.keys()
    assert found["metadata"]["annotations"] == {"serving.knative.dev/rollout-duration": "10s"}


@pytest.mark.parametrize(
    ("value", "allowed", "kept"),
    [("3", False, True), ("0", False, False), ("0", True, True), ("-1", True, False), ("x", True, False)],
)
def test_an_initial_scale_knative_refuses_is_dropped(value: str, allowed: bool, kept: bool) -> None:
    key = "autoscaling.knative.dev/initial-scale"
    found = built(isvc(annotations={key: value}), is_zero_initial_scale_allowed=allowed)
    assert (key in found["spec"]["template"]["metadata"]["annotations"]) is kept
