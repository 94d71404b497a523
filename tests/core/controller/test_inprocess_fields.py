"""Logger, batcher and a transformer in the predictor's pod: what the controller makes of these fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.desired import service
from controller.desired.composition import ComposedPod, Runtimes
from controller.desired.reasons import Reason, SpecError
from wakeful.core.api import inferenceservice, inferenceservice_validate, servingruntime
from wakeful.core.api.inferenceservice_defaults import Defaults, default
from wakeful.core.protocol.payload_store import NO_BUCKET

Obj = dict[str, Any]
MODEL_SERVER = {"serving.wakeful.dev/model-server": "true"}


def isvc(annotations: Obj | None = None, **spec: Any) -> inferenceservice.InferenceService:
    metadata = {"name": "iris", "namespace": "ns", "uid": "u", "annotations": annotations or {}}
    model = {"modelFormat": {"name": "foo"}, "storageUri": "s3://b/m"}
    predictor = {"model": model} | spec.pop("predictor", {})
    if "containers" in predictor and spec.pop("is_custom", False):
        del predictor["model"]
    return inferenceservice.parse(
        default({"metadata": metadata, "spec": {"predictor": predictor} | spec}, Defaults())
    )


def pod(
    parsed: inferenceservice.InferenceService,
    component: str = "predictor",
    image: str = "wakeful/sklearn:1",
    runtime_annotations: Obj | None = None,
    **container: Any,
) -> ComposedPod:
    main = {
        "name": "kserve-container",
        "image": image,
        "args": ["--http_port=8080"],
        "ports": [{"containerPort": 8080}],
    }
    probe = {"readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}}}
    spec = {
        "supportedModelFormats": [{"name": "foo", "autoSelect": True}],
        "containers": [main | probe | container],
        "annotations": runtime_annotations or {},
    }
    runtime = servingruntime.parse(
        {"kind": "ClusterServingRuntime", "metadata": {"name": "rt"}, "spec": spec}
    )
    part = next(item for item in parsed.components if item.name == component)
    return service.compose(parsed, part, Runtimes((), [runtime]), "v2")


def env(container: Obj) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container.get("env", [])}


@pytest.mark.parametrize(
    ("batcher", "flags"),
    [
        ({}, ["--max_batchsize=32"]),
        ({"maxBatchSize": 8, "maxLatency": 50}, ["--max_batchsize=8", "--max_latency=50"]),
        ({"maxBatchSize": 0, "maxLatency": -1, "timeout": 60}, ["--max_batchsize=32"]),
    ],
)
def test_the_batcher_becomes_flags(batcher: Obj, flags: list[str]) -> None:
    main = pod(isvc(predictor={"batcher": batcher})).spec["containers"][0]
    assert main["args"] == ["--http_port=8080", *flags]


def test_a_flag_of_the_runtime_stays() -> None:
    found = pod(isvc(predictor={"batcher": {"maxBatchSize": 8}}), args=["--max-batchsize", "4"])
    assert found.spec["containers"][0]["args"] == ["--max-batchsize", "4"]


def test_the_logger_becomes_variables() -> None:
    logger = {
        "url": "http://sink",
        "mode": "response",
        "metadataHeaders": ["X-A", "X-B"],
        "metadataAnnotations": ["team", "absent"],
    }
    parsed = isvc({"team": "blue, green"}, predictor={"logger": logger})
    variables = env(pod(parsed).spec["containers"][0])
    assert variables.pop("WAKEFUL_LOGGER_METADATA_ANNOTATIONS") == json.dumps(
        {"team": "blue, green"}, separators=(",", ":")
    )
    assert variables == {
        "WAKEFUL_LOGGER_URL": "http://sink",
        "WAKEFUL_LOGGER_MODE": "response",
        "WAKEFUL_LOGGER_METADATA_HEADERS": "X-A,X-B",
        "WAKEFUL_LOGGER_NAMESPACE": "ns",
        "WAKEFUL_LOGGER_COMPONENT": "predictor",
        "INFERENCE_SERVICE_NAME": "iris",
    }


def test_the_model_server_understands_these_variables() -> None:
    from wakeful.serving.payload_log import settings

    logger = {"url": "http://sink", "mode": "request", "metadataAnnotations": ["a"], "metadataHeaders": ["x"]}
    variables = env(pod(isvc({"a": "b,c"}, predictor={"logger": logger})).spec["containers"][0])
    read = settings.parse(variables)
    assert read is not None
    assert (read.url, read.mode, read.metadata_headers) == ("http://sink", "request", ("x",))
    assert (read.identity.annotations, read.identity.component) == ({"a": "b,c"}, "predictor")


@pytest.mark.parametrize("image", ["registry:5000/team/wakeful/sklearn:2", "wakeful/onnx@sha256:0"])
def test_our_images_are_known_in_any_registry(image: str) -> None:
    assert (
        "--max_batchsize=32"
        in pod(isvc(predictor={"batcher": {}}), image=image).spec["containers"][0]["args"]
    )


@pytest.mark.parametrize("field", [{"logger": {"mode": "all", "url": "http://x"}}, {"batcher": {}}])
def test_a_foreign_image_has_neither(field: Obj) -> None:
    parsed = isvc(predictor=field)
    with pytest.raises(SpecError, match=r"nothing says that the image 'nvcr.io/triton:1' is one") as caught:
        pod(parsed, image="nvcr.io/triton:1")
    assert caught.value.reason is Reason.NOT_SUPPORTED_YET
    assert f"spec.predictor.{next(iter(field))}" in caught.value.message
    assert pod(parsed, image="nvcr.io/triton:1", runtime_annotations=MODEL_SERVER)
    assert pod(isvc(MODEL_SERVER, predictor=field), image="own:1")


def test_custom_components_say_what_they_are() -> None:
    predictor = {"containers": [{"image": "mine:1"}], "batcher": {}}
    with pytest.raises(SpecError, match="mine:1"):
        pod(isvc(predictor=predictor, is_custom=True))
    found = pod(isvc(predictor=predictor | {"annotations": MODEL_SERVER}, is_custom=True))
    assert found.spec["containers"][0]["args"] == ["--max_batchsize=32"]
    transformer = {
        "containers": [{"image": "t:1"}],
        "logger": {"mode": "all", "url": "http://sink"},
        "annotations": MODEL_SERVER,
    }
    variables = env(pod(isvc(transformer=transformer), "transformer").spec["containers"][0])
    assert variables["WAKEFUL_LOGGER_COMPONENT"] == "transformer"
    assert variables["WAKEFUL_PREDICTOR_PROTOCOL"] == "v2"


TRANSFORMER = {"name": "transformer-container", "image": "t:1"}


def test_a_collocated_transformer_answers_for_the_pod() -> None:
    main, side = pod(isvc(predictor={"containers": [TRANSFORMER]})).spec["containers"]
    assert (main["name"], side["name"]) == ("kserve-container", "transformer-container")
    assert "ports" not in main and "readinessProbe" not in main
    assert main["args"] == ["--http_port=8080", "--http_port=8085"]
    assert side["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert side["args"] == ["--model_name=iris", "--http_port=8080", "--predictor_host=localhost:8085"]


def test_a_collocated_transformer_keeps_what_the_user_wrote() -> None:
    mine = TRANSFORMER | {
        "args": ["--predictor_host", "localhost:9000", "--model-name=other"],
        "ports": [{"containerPort": 8500}],
    }
    containers = [{"name": "log", "image": "l"}, mine]
    main, side, other = pod(isvc(predictor={"containers": containers})).spec["containers"]
    assert main["args"] == ["--http_port=8080"]
    assert side["args"] == [*mine["args"], "--http_port=8500"]
    assert other["name"] == "log"


def test_two_foreign_servers_on_one_port_are_told() -> None:
    kserve: list[Obj] = [
        {"name": "kserve-container", "image": "c:1", "ports": [{"containerPort": 8080}]},
        TRANSFORMER,
    ]
    with pytest.raises(SpecError, match="would both listen on port 8080"):
        pod(isvc(predictor={"containers": kserve}, is_custom=True))
    kserve[0] = kserve[0] | {"args": ["--http_port", "8085"]}
    main, side = pod(isvc(predictor={"containers": kserve}, is_custom=True)).spec["containers"]
    assert "--predictor_host=localhost:8085" in side["args"]
    assert main["args"] == ["--http_port", "8085"]
    unknown = [{"name": "kserve-container", "image": "triton:1"}, TRANSFORMER]
    main, side = pod(isvc(predictor={"containers": unknown}, is_custom=True)).spec["containers"]
    assert side["args"] == ["--model_name=iris", "--http_port=8080"]


def test_a_logger_with_a_store_gets_its_place_and_its_key() -> None:
    storage = {"path": "/p", "key": "k", "parameters": {"type": "s3", "bucket": "logs", "format": "csv"}}
    logger = {"mode": "all", "storage": storage, "batchSize": 20, "batchInterval": "1m"}
    parsed = isvc(predictor={"logger": logger})
    assert not inferenceservice_validate.validate(parsed.raw).problems
    container = pod(parsed).spec["containers"][0]
    variables = env(container)
    assert variables["WAKEFUL_LOGGER_STORE_PATH"] == "s3://logs/p"
    assert variables["WAKEFUL_LOGGER_STORE_FORMAT"] == "csv"
    assert (variables["WAKEFUL_LOGGER_BATCH_SIZE"], variables["WAKEFUL_LOGGER_BATCH_INTERVAL"]) == (
        "20",
        "1m",
    )
    (reference,) = [item["valueFrom"] for item in container["env"] if "valueFrom" in item]
    assert reference == {"secretKeyRef": {"name": "storage-config", "key": "k"}}


@pytest.mark.parametrize(
    ("logger", "path", "words"),
    [
        ({}, "url", "no default sink"),
        ({"url": "http://x", "marshallerUrl": "http://y"}, "marshallerUrl", "json and csv"),
        ({"storage": {"path": "p", "key": "k", "parameters": {"type": "s3"}}}, "storage.path", "bucket"),
        (
            {"storage": {"path": "s3://logs", "key": "k", "parameters": {"type": "gs"}}},
            "storage.parameters.type",
            "stored in s3",
        ),
        (
            {"storage": {"path": "s3://logs", "key": "k", "parameters": {"format": "parquet"}}},
            "storage.parameters.format",
            "json, csv",
        ),
        ({"url": "h:80"}, "url", "'h:80': it takes http://HOST/PATH"),
        (
            {"storage": {"path": "s3://Log$/x", "key": "k", "parameters": {"type": "s3"}}},
            "storage.path",
            NO_BUCKET,
        ),
        (
            {"storage": {"path": "x", "key": "k", "parameters": {"bucket": "10.0.0.1"}}},
            "storage.parameters.bucket",
            "no IP address",
        ),
        (
            {"storage": {"path": "x?y", "key": "k", "parameters": {"bucket": "logs"}}},
            "storage.path",
            "would be left out of the prefix",
        ),
        (
            {"storage": {"path": "gs://b", "key": "k", "parameters": {"bucket": "logs"}}},
            "storage.path",
            "s3://BUCKET",
        ),
    ],
    ids=[
        "nowhere",
        "marshaller",
        "no-bucket",
        "gs",
        "parquet",
        "no URL",
        "no name",
        "an address",
        "a query",
        "other scheme",
    ],
)
def test_a_logger_that_cannot_work_is_refused_at_apply(logger: Obj, path: str, words: str) -> None:
    parsed = isvc(predictor={"logger": {"mode": "all", **logger}})
    (problem,) = inferenceservice_validate.validate(parsed.raw).problems
    assert problem.path == f"spec.predictor.logger.{path}"
    assert words in problem.message
