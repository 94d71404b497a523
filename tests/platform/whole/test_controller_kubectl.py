"""InferenceServices as a user meets them with kubectl: what is refused, what is explained, and a canary counted."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from whole_platform import Platform

from standalone import instance

pytestmark = [pytest.mark.platform, pytest.mark.timeout(240), pytest.mark.usefixtures("needs_kubectl")]

NAMESPACE = "isvc-kubectl"
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ["WORD"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def container(*code: str, **fields: Any) -> dict[str, Any]:
    return {"image": "python:3.11", "command": ["python", "-c", *code]} | fields


def manifest(name: str, **predictor: Any) -> str:
    metadata = {"name": name, "namespace": NAMESPACE}
    spec = {"predictor": {"minReplicas": 1} | predictor}
    return json.dumps(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": metadata,
            "spec": spec,
        }
    )


def says(word: str, **more: Any) -> str:
    return manifest("word", containers=[container(SERVER, env=[{"name": "WORD", "value": word}])], **more)


@pytest.fixture(scope="module", autouse=True)
def namespace(platform: Platform) -> Iterator[None]:
    platform.kubectl("create", "namespace", NAMESPACE)
    yield
    platform.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def apply(platform: Platform, text: str, check: bool = True) -> str:
    return platform.kubectl("apply", "-f", "-", text=text, check=check)


def condition(platform: Platform, name: str, type_: str = "Ready") -> tuple[str, str, str]:
    obj = json.loads(platform.kubectl("get", "isvc", name, "-n", NAMESPACE, "-o", "json"))
    status = obj.get("status", {})
    if status.get("observedGeneration") != obj["metadata"]["generation"]:
        return "", "", ""
    found = next((item for item in status["conditions"] if item["type"] == type_), {})
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def until(check: Callable[[], Any], what: str, limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < deadline, f"waited {limit_s} s for {what}"
        time.sleep(0.1)


def words(platform: Platform, count: int, host: str = "word") -> Counter[str]:
    """What ``count`` requests on one connection were answered."""
    connection = http.client.HTTPConnection("127.0.0.1", platform.ports[0], timeout=30)
    seen: Counter[str] = Counter()
    for _ in range(count):
        connection.request("GET", "/", headers={"Host": f"{host}.{NAMESPACE}.localhost"})
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        seen[body if answer.status == 200 else f"HTTP {answer.status}"] += 1
    connection.close()
    return seen


AT_APPLY = {
    "unknown field": ({"minReplica": 1}, 'unknown field "spec.predictor.minReplica"'),
    "two implementations": ({"sklearn": {}, "xgboost": {}}, "there are 2 (sklearn, xgboost)"),
    "not built yet": (
        {"sklearn": {}, "storageContainerName": "mine"},
        "choosing a ClusterStorageContainer is not supported yet",
    ),
    "no runtime": (
        {"model": {"modelFormat": {"name": "nosuch"}}},
        "Warning: spec.predictor.model: NoSupportingRuntime",
    ),
    "scheme": (
        {"sklearn": {"storageUri": "ftp://x/y"}},
        "Warning: spec.predictor.model.storageUri: StorageURI not supported",
    ),
}


@pytest.mark.parametrize(("predictor", "said"), AT_APPLY.values(), ids=list(AT_APPLY))
def test_said_at_apply(platform: Platform, predictor: dict[str, Any], said: str) -> None:
    out = platform.kubectl(
        "apply", "--dry-run=server", "-f", "-", text=manifest("bad", **predictor), check=False
    )
    assert said in out


RAISES = "raise RuntimeError('the weights are corrupt')"
SHOWN = {
    "image": ({"containers": [{"image": "nosuch/image:1"}]}, "False", "not in the image table"),
    "raises": ({"containers": [container(RAISES)]}, "False", "the weights are corrupt"),
    "port": (
        {"containers": [container("import time; time.sleep(600)")]},
        "Unknown",
        "is not ready: its readiness probe",
    ),
    "claim": (
        {"sklearn": {"storageUri": "pvc://absent/x"}},
        "Unknown",
        'persistentvolumeclaim "absent" not found',
    ),
    "account": (
        {"sklearn": {"storageUri": "s3://b/x"}, "serviceAccountName": "absent"},
        "False",
        "ServiceAccount absent",
    ),
    "knative": ({"sklearn": {}, "nodeSelector": {"a": "b"}}, "False", "spec.template.spec.nodeSelector"),
}


def test_shown_within_seconds(platform: Platform) -> None:
    for name, (predictor, _, _) in SHOWN.items():
        apply(platform, manifest(name, **predictor))
    for name, (_, status, said) in SHOWN.items():
        until(lambda n=name, s=said: s in condition(platform, n)[2], f"{name}: {said}", 20)
        assert condition(platform, name)[0] == status, name
    platform.kubectl("delete", "isvc", "-n", NAMESPACE, *SHOWN)


def test_rollout(platform: Platform) -> None:
    """Canary of 10 %, promotion, rollback without touching the model, and a broken revision: no request fails."""
    apply(platform, says("one"))
    until(lambda: condition(platform, "word")[0] == "True", "Ready")
    assert words(platform, 20) == {"one": 20}

    apply(platform, says("two", canaryTrafficPercent=10))
    until(lambda: condition(platform, "word")[0] == "True", "the canary")
    seen = words(platform, 1000)
    assert set(seen) == {"one", "two"} and 60 <= seen["two"] <= 150, seen
    assert words(platform, 10, "prev-word-predictor") == {"one": 10}

    apply(platform, says("two"))
    until(lambda: set(words(platform, 10)) == {"two"}, "the promotion")
    apply(platform, says("two", canaryTrafficPercent=0))
    until(lambda: set(words(platform, 10)) == {"one"}, "the rollback")
    apply(platform, says("two"))
    until(lambda: set(words(platform, 10)) == {"two"}, "the promotion again")

    apply(platform, manifest("word", containers=[container(RAISES)]))
    until(lambda: condition(platform, "word")[0] == "False", "the broken revision")
    assert "the weights are corrupt" in condition(platform, "word")[2]
    assert words(platform, 300) == {"two": 300}
    status = json.loads(platform.kubectl("get", "isvc", "word", "-n", NAMESPACE, "-o", "json"))["status"]
    assert status["modelStatus"]["states"] == {
        "activeModelState": "Loaded",
        "targetModelState": "FailedToLoad",
    }
    failure = status["modelStatus"]["lastFailureInfo"]
    assert (failure["reason"], failure["exitCode"]) == ("ModelLoadFailed", 1)


def test_a_short_form_can_be_applied_again(platform: Platform) -> None:
    for folder in ("v1", "v2"):
        apply(platform, manifest("short", sklearn={"storageUri": f"pvc://models/{folder}"}))
    path = "jsonpath={.spec.predictor.model.storageUri}"
    assert platform.kubectl("get", "isvc", "short", "-n", NAMESPACE, "-o", path) == "pvc://models/v2"
    platform.kubectl("delete", "isvc", "short", "-n", NAMESPACE)
    until(
        lambda: "short" not in platform.kubectl("get", "ksvc,revisions", "-n", NAMESPACE, "-o", "name"),
        "deletion",
    )


def test_apply_waits_while_the_controller_starts_again(platform: Platform) -> None:
    record = instance.read(platform.layout)
    assert record is not None
    os.kill(record.processes["controller"].pid, signal.SIGKILL)
    assert "created" in apply(platform, manifest("after", sklearn={"storageUri": "pvc://models/v1"}))
    platform.kubectl("delete", "isvc", "after", "-n", NAMESPACE)
