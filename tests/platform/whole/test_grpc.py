"""gRPC through the whole platform: unary, server-stream and bidi calls held while the model wakes, and REST beside them."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from waiting_rig import until_blocking as until
from whole_platform import Platform

from wakeful.core.protocol.oip_messages import message

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "hack"))
import train_iris  # noqa: E402

pytestmark = [pytest.mark.platform, pytest.mark.timeout(300), pytest.mark.usefixtures("needs_kubectl")]
NAMESPACE = "grpc-tour"
YAML = """
apiVersion: v1
kind: Namespace
metadata: {name: grpc-tour}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models, namespace: grpc-tour}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: plain
  namespace: grpc-tour
  annotations: {autoscaling.knative.dev/window: "6s"}
spec:
  predictor:
    minReplicas: 0
    model: {modelFormat: {name: sklearn}, storageUri: pvc://models/iris-v1}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: ported
  namespace: grpc-tour
  annotations: {autoscaling.knative.dev/window: "6s"}
spec:
  predictor:
    minReplicas: 0
    model:
      modelFormat: {name: sklearn}
      protocolVersion: grpc-v2
      storageUri: pvc://models/iris-v1
      ports: [{name: h2c, protocol: TCP, containerPort: 8080}]
"""


@pytest.fixture(scope="module")
def rows(platform: Platform) -> tuple[list[list[float]], list[int]]:
    """Both services, Ready; rows and what scikit-learn says of them."""
    expected = train_iris.train(platform.layout.volumes / NAMESPACE / "models")
    platform.kubectl("apply", "-f", "-", text=YAML)
    for name in ("plain", "ported"):
        platform.kubectl("wait", f"isvc/{name}", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
    return expected


@pytest.fixture(params=["plain", "ported"])
def name(request: pytest.FixtureRequest) -> str:
    """An InferenceService without any word about gRPC, and one with KServe's port for it."""
    return str(request.param)


@pytest.fixture
def channel(platform: Platform, name: str) -> Iterator[grpc.Channel]:
    options = [
        ("grpc.default_authority", f"{name}.{NAMESPACE}.localhost"),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with grpc.insecure_channel(f"127.0.0.1:{platform.ports[0]}", options=options) as channel:
        yield channel


def sleeping(platform: Platform, name: str) -> None:
    pods = lambda: platform.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name")  # noqa: E731
    until(lambda: f"{name}-predictor" not in pods(), 60, "no pod")


def asked(name: str, rows: list[list[float]]) -> bytes:
    request = message("inference.ModelInferRequest")(model_name=name)
    tensor = request.inputs.add(name="x", datatype="FP64", shape=[len(rows), 4])
    tensor.contents.fp64_contents.extend([value for row in rows for value in row])
    return bytes(request.SerializeToString())


def classes(answer: Any) -> list[int]:
    contents = answer.outputs[0].contents
    return list(contents.int64_contents) or list(contents.int_contents)


def test_unary_from_zero_and_rest_beside_it(
    platform: Platform, rows: tuple[list[list[float]], list[int]], channel: grpc.Channel, name: str
) -> None:
    sleeping(platform, name)
    infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    told, call = infer.with_call(asked(name, rows[0]), timeout=60)
    assert classes(message("inference.ModelInferResponse").FromString(told)) == rows[1]
    assert dict(call.initial_metadata())["wakeful-cold-start"] == "true"
    request = urllib.request.Request(
        f"http://127.0.0.1:{platform.ports[0]}/v1/models/{name}:predict",
        data=json.dumps({"instances": rows[0]}).encode(),
        headers={"Host": f"{name}.{NAMESPACE}.localhost"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert json.load(response) == {"predictions": rows[1]}


def test_bidi_stream_from_zero(
    platform: Platform, rows: tuple[list[list[float]], list[int]], channel: grpc.Channel, name: str
) -> None:
    sleeping(platform, name)
    stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    answers = stream(iter([asked(name, rows[0]), asked("nope", rows[0]), asked(name, rows[0])]), timeout=60)
    read = message("inference.ModelStreamInferResponse").FromString
    told = [read(answer) for answer in answers]
    assert [classes(t.infer_response) for t in (told[0], told[2])] == [rows[1], rows[1]]
    assert "nope" in told[1].error_message


def test_server_stream_from_zero(
    platform: Platform, rows: tuple[list[list[float]], list[int]], channel: grpc.Channel, name: str
) -> None:
    sleeping(platform, name)
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name), timeout=60)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
