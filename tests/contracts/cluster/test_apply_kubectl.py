"""What kubectl itself makes of the schemas: explain, apply and its three-way merge, diff, edit, patch, strict creation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cluster_api import KUBECONFIG, Api, Define, Obj, eventually
from cluster_objects import deployment, widget

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kubectl(api: Api, namespace: str, tmp_path: Path) -> Run:
    """Runs kubectl in the namespace with a cache of its own; ``stdin`` is an object."""
    config = KUBECONFIG or str(api.data_dir / "kubeconfig" if api.data_dir else "")

    def run(*arguments: str, stdin: Obj | None = None, editor: str = "") -> subprocess.CompletedProcess[str]:
        command = [
            "kubectl",
            "--kubeconfig",
            config,
            "--cache-dir",
            str(tmp_path),
            "-n",
            namespace,
            *arguments,
        ]
        environment = {**os.environ, "KUBE_EDITOR": editor}
        text = yaml.safe_dump(stdin) if stdin else ""
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, env=environment
        )

    return run


def web() -> Obj:
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"] = [
        {
            "name": "a",
            "image": "i:1",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
        },
        {"name": "b", "image": "i:2"},
    ]
    return body


@pytest.mark.parametrize("output", ["plaintext", "plaintext-openapiv2"])
def test_explain(kubectl: Run, define: Define, output: str) -> None:
    done = kubectl("explain", "pod.spec.containers", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "A single application container" in done.stdout and "Attributes:" not in done.stdout
    nested = kubectl("explain", "deployment.spec.template", "--recursive", "--output", output)
    assert "httpGet" in nested.stdout
    crd = define()
    kind = f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
    # kube-apiserver publishes the document of a new kind a moment after it serves its objects
    done = eventually(
        lambda: (one := kubectl("explain", kind, "--recursive", "--output", output)).returncode == 0 and one,
        f"kubectl explain {kind} fails",
    )
    assert "color" in done.stdout, done.stderr


def test_apply_diff_and_the_three_way_merge(kubectl: Run) -> None:
    assert kubectl("apply", "-f", "-", stdin=web()).returncode == 0
    assert kubectl("apply", "-f", "-", stdin=web()).stdout.strip().endswith("unchanged")
    assert kubectl("diff", "-f", "-", stdin=web()).returncode == 0
    # Somebody else scales and adds a variable; what apply does not name stays.
    kubectl("scale", "deploy/web", "--replicas=0")
    kubectl("set", "env", "deploy/web", "-c", "a", "C=3")
    changed = web()
    container = changed["spec"]["template"]["spec"]["containers"][0]
    container["env"], container["ports"] = [{"name": "B", "value": "9"}], [{"containerPort": 80}]
    changed["spec"]["template"]["spec"]["containers"][1]["image"] = "i:3"
    diff = kubectl("diff", "-f", "-", stdin=changed)
    assert diff.returncode == 1 and '+          value: "9"' in diff.stdout, diff.stderr
    assert kubectl("apply", "-f", "-", stdin=changed).returncode == 0
    found = json.loads(kubectl("get", "deploy", "web", "-o", "json").stdout)
    first, second = found["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["value"] for one in first["env"]} == {"B": "9", "C": "3"}
    assert first["ports"] == [{"containerPort": 80, "protocol": "TCP"}] and second["image"] == "i:3"


def test_from_client_side_to_server_side_apply(kubectl: Run) -> None:
    kubectl("apply", "-f", "-", stdin=web())
    changed = web()
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "i:9"
    done = kubectl("apply", "--server-side", "-f", "-", stdin=changed)
    assert done.returncode == 0, done.stderr
    other = kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=web())
    assert other.returncode != 0 and '.spec.template.spec.containers[name="a"].image' in other.stderr
    forced = ("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-")
    assert kubectl(*forced, stdin=web()).returncode == 0
    shown = kubectl("get", "deploy", "web", "-o", "yaml", "--show-managed-fields").stdout
    assert "manager: other" in shown and "operation: Apply" in shown


def test_strict_creation(kubectl: Run, define: Define) -> None:
    crd = define()
    body = widget(crd, "w", bogus=1)
    refused = kubectl("create", "--validate=strict", "-f", "-", stdin=body)
    assert refused.returncode != 0 and 'unknown field "spec.bogus"' in refused.stderr
    warned = kubectl("create", "--validate=warn", "-f", "-", stdin=body)
    assert warned.returncode == 0 and 'Warning: unknown field "spec.bogus"' in warned.stderr
    refused = kubectl("create", "-f", "-", stdin={**widget(crd, "v"), "spec": {"size": 11, "color": "blue"}})
    assert "* spec.size: Invalid value: 11" in refused.stderr
    assert '* spec.color: Unsupported value: "blue": supported values: "red", "green"' in refused.stderr


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("json", '[{"op":"replace","path":"/spec/paused","value":true}]'),
        ("merge", '{"spec":{"paused":true}}'),
        ("strategic", '{"spec":{"paused":true}}'),
    ],
)
def test_patch(kubectl: Run, kind: str, patch: str) -> None:
    kubectl("create", "-f", "-", stdin={**web(), "spec": {**web()["spec"], "paused": False}})
    assert kubectl("patch", "deploy", "web", "--type", kind, "-p", patch).stdout.strip().endswith("patched")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.paused}").stdout == "true"


def test_edit(kubectl: Run) -> None:
    kubectl("create", "-f", "-", stdin=web())
    assert "edited" in kubectl("edit", "deploy", "web", editor="sed -i s/i:2/i:7/").stdout
    assert "i:7" in kubectl("get", "deploy", "web", "-o", "wide").stdout
    refused = kubectl("edit", "deploy", "web", editor="sed -i 's/replicas: 0/replicas: -1/'")
    assert refused.returncode != 0 and "is invalid" in refused.stderr
