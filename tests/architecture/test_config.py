"""The manifests of the cluster installation: complete, small enough, restricted, and with the rights the document says."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
BUILDS = ("default", "without-crds", *(f"overlays/{name}" for name in ("dev", "ha", "redis", "cert-manager")))
ANNOTATIONS_BYTES = 262_144
"""Kubernetes' bound on all annotations of an object; client-side apply keeps the object in one."""
Rule = tuple[str, frozenset[str], frozenset[str], frozenset[str]]
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@functools.cache
def built(name: str) -> list[dict[str, Any]]:
    argv = ["kubectl", "kustomize", str(CONFIG / name)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def documents(path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CONFIG / path).read_text()))


@needs_kubectl
@pytest.mark.parametrize("name", BUILDS)
def test_a_kustomization_builds_and_every_object_is_marked_as_ours(name: str) -> None:
    found = built(name)
    unmarked = [
        (item["kind"], item["metadata"]["name"])
        for item in found
        if (item["metadata"].get("labels") or {}).get("app.kubernetes.io/part-of") != "wakeful"
    ]
    assert unmarked == []
    assert not any(item["kind"] == "ClusterServingRuntime" for item in found), "kubectl cannot send it yet"
    assert not any(item["kind"] == "Secret" for item in found)


@needs_kubectl
@pytest.mark.parametrize("name", BUILDS)
def test_every_pod_is_restricted(name: str) -> None:
    """The rules of Pod Security ``restricted`` that a template can break."""
    templates = [
        item["spec"]["template"]["spec"]
        for item in built(name)
        if item["kind"] in ("Deployment", "StatefulSet")
    ]
    assert templates
    for spec in templates:
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
            assert not re.search(r"[.:][^/]*/", container["image"].removeprefix("dev.local/")), (
                "names a registry"
            )
        kinds = {key for volume in spec.get("volumes", []) for key in volume if key != "name"}
        assert kinds <= {"emptyDir", "secret", "configMap", "projected", "persistentVolumeClaim"}


@needs_kubectl
def test_client_side_apply_can_keep_every_object() -> None:
    large = [
        item["metadata"]["name"]
        for item in built("default")
        if len(json.dumps(item)) > ANNOTATIONS_BYTES * 0.8
    ]
    assert large == []


def test_every_shipped_runtime_travels_and_is_restricted() -> None:
    (kustomization,) = documents("runtimes/kustomization.yaml")
    listed = set(kustomization["configMapGenerator"][0]["files"])
    files = {path.name for path in (CONFIG / "runtimes").glob("*.yaml")} - {"kustomization.yaml"}
    assert listed == files
    for name in files:
        for runtime in documents(f"runtimes/{name}"):
            for container in runtime["spec"]["containers"]:
                own = container["securityContext"]
                assert own["allowPrivilegeEscalation"] is False
                assert own["runAsNonRoot"] is True
                assert own["capabilities"] == {"drop": ["ALL"]}
                assert own["seccompProfile"] == {"type": "RuntimeDefault"}


def bound_rules() -> dict[str, list[dict[str, Any]]]:
    """The controller's rules: "" for everywhere, else by namespace."""
    roles: dict[str, list[dict[str, Any]]] = {}
    for doc in documents("rbac/role.yaml"):
        if doc["kind"] == "Role" or (doc["kind"], doc["metadata"]["name"]) == (
            "ClusterRole",
            "wakeful-controller",
        ):
            roles[doc["metadata"].get("namespace", "")] = doc["rules"]
    return roles


def test_no_rule_on_secrets_and_none_for_everything() -> None:
    for rules in bound_rules().values():
        for rule in rules:
            assert "secrets" not in rule["resources"]
            assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
            is_named = bool(rule.get("resourceNames"))
            assert not (is_named and {"create", "list", "watch"} & set(rule["verbs"])), (
                "a name cannot limit these"
            )


def test_the_rights_are_those_the_document_explains() -> None:
    text = (ROOT / "docs" / "reference" / "rbac.md").read_text()
    sections = dict(zip(("", "wakeful-system", "knative-serving"), text.split("\n## ")[1:4], strict=True))
    for namespace, rules in bound_rules().items():
        wanted = {
            rule_of(rule["apiGroups"][0], rule["resources"], rule.get("resourceNames", []), rule["verbs"])
            for rule in rules
        }
        told = {
            rule_of(row[0], *(item.split(", ") for item in row[1:4])) for row in table(sections[namespace])
        }
        assert told == wanted


def table(section: str) -> list[list[str]]:
    """The cells of a section's table."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[item.strip() for item in line.strip().strip("|").split("|")] for line in lines[2:]]


def rule_of(group: str, resources: list[str], names: list[str], verbs: list[str]) -> Rule:
    group = "" if group == "core" else group
    return group, frozenset(resources), frozenset(name for name in names if name), frozenset(verbs)
