"""The real kubectl against the API server alone: the verbs people type, and what they are told when it fails."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from server_process import ServerProcess

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

APP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: app, labels: {a: b}}
data: {one: "1", two: "2"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 0
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers: [{name: c, image: "x:1", env: [{name: A, value: "1"}]}]
"""


class Kubectl:
    def __init__(self, server: ServerProcess, namespace: str, home: Path) -> None:
        self.environment = {**server.environment, "HOME": str(home)}
        self.namespace = namespace

    def __call__(self, *arguments: str, text: str = "", code: int = 0, **environment: str) -> str:
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            env={**self.environment, **environment},
            input=text,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=30,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def kubectl(shared: ServerProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Kubectl:
    name = "k-" + request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    found = Kubectl(shared, name, tmp_path)
    found("create", "namespace", name)
    return found


def test_apply_is_idempotent_and_shows_differences(kubectl: Kubectl) -> None:
    assert "configmap/app created" in kubectl("apply", "-f", "-", text=APP)
    assert "deployment.apps/app unchanged" in kubectl("apply", "-f", "-", text=APP)
    changed = APP.replace('two: "2"', 'two: "3"').replace("x:1", "x:2")
    assert "x:2" in kubectl("diff", "-f", "-", text=changed, code=1)
    assert "deployment.apps/app configured" in kubectl("apply", "-f", "-", text=changed)
    assert kubectl("get", "cm", "app", "-o", "jsonpath={.data.two}") == "3"
    assert kubectl("diff", "-f", "-", text=changed) == ""


def test_apply_prunes_what_is_no_longer_named(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=APP.replace("name: app}", "name: app, labels: {a: b}}"))
    rest = APP.split("---")[0]
    pruned = kubectl("apply", "--prune", "-l", "a=b", "-f", "-", text=rest)
    assert "deployment.apps/app pruned" in pruned
    assert "configmap/app unchanged" in pruned


def test_server_side_apply_explains_conflicts(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", text=APP)
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    text = APP.replace('one: "1"', 'one: "9"')
    refused = kubectl(*other, text=text, code=1)
    assert 'conflict with "kubectl": .data.one' in refused
    assert "--force-conflicts" in refused
    kubectl(*other, "--force-conflicts", text=text)


def test_edit_label_annotate_scale(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=APP)
    edited = kubectl("edit", "cm", "app", KUBE_EDITOR="sed -i 's/one: .*/one: edited/'")
    assert "configmap/app edited" in edited
    assert "labeled" in kubectl("label", "cm", "app", "x=y")
    assert "--overwrite is false" in kubectl("label", "cm", "app", "x=z", code=1)
    assert "annotated" in kubectl("annotate", "deploy", "app", "note=hello")
    assert "scaled" in kubectl("scale", "deploy", "app", "--replicas=2")
    assert "Expected replicas to be 5" in kubectl(
        "scale", "deploy", "app", "--current-replicas=5", "--replicas=3", code=1
    )
    columns = "custom-columns=N:.metadata.name,R:.spec.replicas"
    assert kubectl("get", "deploy", "-o", columns).split() == ["N", "R", "app", "2"]
    broken = kubectl("edit", "deploy", "app", code=1, KUBE_EDITOR="sed -i 's/replicas: 2/replicas: -1/'")
    assert 'deployments.apps "app" is invalid' in broken


def test_generators(kubectl: Kubectl) -> None:
    """kubectl sends these as protobuf."""
    for arguments in (
        "secret generic s --from-literal=a=b",
        "sa bot",
        "deployment web --image=x:1 --replicas=0 --port=80",
        "role r --verb=get --resource=pods",
        "job j --image=x:1",
        "ingress i --rule=a.example.com/*=web:80",
    ):
        assert "created" in kubectl("create", *arguments.split(" "))
    assert "exposed" in kubectl("expose", "deployment", "web", "--port=80")
    assert "created" in kubectl("run", "one", "--image=x:1", "--restart=Never")
    assert len(kubectl("create", "token", "bot").split(".")) == 3
    assert "Pod Template:" in kubectl("describe", "deployment", "web")


def test_every_served_kind_can_be_got_and_described(kubectl: Kubectl) -> None:
    names = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    assert len(names) > 30
    listed = ",".join(names)
    kubectl("get", listed, "-A", "-o", "wide")
    kubectl("describe", listed, "-A")


def test_explain(kubectl: Kubectl) -> None:
    assert "FIELD: replicas <integer>" in kubectl("explain", "deployment.spec.replicas")
    assert "initContainers" in kubectl("explain", "pod", "--recursive")
    assert "openAPIV3Schema" in kubectl("explain", "crd.spec.versions.schema")


def test_get_in_every_form(kubectl: Kubectl, shared: ServerProcess) -> None:
    kubectl("apply", "-f", "-", text=APP)
    assert json.loads(kubectl("get", "cm", "app", "-o", "json"))["data"]["one"] == "1"
    assert "data:" in kubectl("get", "cm", "app", "-o", "yaml")
    assert kubectl("get", "cm", "app", "-o", "name").strip() == "configmap/app"
    assert "a=b" in kubectl("get", "cm", "--show-labels")
    assert kubectl("get", "cm", "-l", "a=b", "--no-headers").split()[0] == "app"
    assert "not found" in kubectl("get", "cm", "nobody", code=1)
    assert "doesn't have a resource type" in kubectl("get", "nonsense", code=1)
    api = shared.api()
    for index in range(25):
        path = f"/api/v1/namespaces/{kubectl.namespace}/configmaps"
        api.post(path, {"metadata": {"name": f"m-{index:02}"}}).ok()
    assert len(kubectl("get", "cm", "--chunk-size=7", "--no-headers").splitlines()) >= 26


def test_delete_by_cascade(kubectl: Kubectl) -> None:
    for policy in ("background", "foreground", "orphan"):
        kubectl("apply", "-f", "-", text=APP)
        assert "deleted" in kubectl("delete", "deploy", "app", f"--cascade={policy}")
    assert "deleted" in kubectl("delete", "cm", "--all")
    assert "not found" in kubectl("delete", "cm", "app", code=1)


def test_wait_and_rollout_give_up_in_time(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=APP)
    timed_out = kubectl("wait", "deploy", "app", "--for=condition=Available", "--timeout=1s", code=1)
    assert "timed out waiting for the condition" in timed_out
    kubectl("wait", "cm", "app", "--for=jsonpath={.data.one}=1", "--timeout=5s")
    assert "no rollout history" in kubectl("rollout", "undo", "deploy", "app", code=1)


def test_who_may_what(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    assert "[*]" in kubectl("auth", "can-i", "--list")
    assert "wakeful-admin" in kubectl("auth", "whoami")


def test_what_is_missing_says_so(kubectl: Kubectl) -> None:
    kubectl("run", "one", "--image=x:1")
    assert "pods/exec is not supported by the embedded API" in kubectl("exec", "one", "--", "ls", code=1)
    assert "pods/exec is not supported" in kubectl("cp", "one:/x", "/tmp/nothing", code=1)
    assert "pods/attach is not supported" in kubectl("attach", "one", code=1)
    assert "Metrics API not available" in kubectl("top", "pods", code=1)
    assert "is waiting to start" in kubectl("logs", "one", code=1)


def test_bad_manifests_are_explained(kubectl: Kubectl) -> None:
    def apply(obj: object) -> str:
        return kubectl("apply", "-f", "-", text=json.dumps(obj), code=1)

    named = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}}
    assert 'unknown field "dta"' in apply({**named, "dta": {}})
    assert "no matches for kind" in apply({**named, "apiVersion": "v9"})
    assert "metadata.name: Invalid value" in apply({**named, "metadata": {"name": "Bad_Name"}})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {"containers": []}}
    assert "spec.containers: Required value" in apply(pod)


def test_watch_prints_changes(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=APP)
    command = ["kubectl", "-n", kubectl.namespace, "get", "cm", "--watch", "-o", "name"]
    with subprocess.Popen(command, env=kubectl.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == "configmap/app"
            kubectl("create", "cm", "later")
            line = process.stdout.readline().strip()
            while line != "configmap/later":
                line = process.stdout.readline().strip()
        finally:
            process.terminate()
