"""Objects for the cluster contract: small, valid on every Kubernetes, each call a fresh one."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> Obj:
    obj: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    if labels:
        obj["metadata"]["labels"] = labels
    return obj


def pod(name: str, **spec: Any) -> Obj:
    """A pod that no node will start: it waits for a scheduling gate's removal on a real cluster."""
    container = {"name": "main", "image": "example.invalid/none:1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], **spec},
    }


def deployment(name: str, replicas: int = 0) -> Obj:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "example.invalid/none:1"}]},
            },
        },
    }


SCHEMA: Obj = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 10},
                "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                "replicas": {"type": "integer"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": {"type": "string"},
                "replicas": {"type": "integer"},
                "selector": {"type": "string"},
            },
        },
    },
}


def version(name: str, *, storage: bool = True, **more: Any) -> Obj:
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {"status": {}},
        **more,
    }


def definition(group: str, *, scope: str = "Namespaced", versions: Any = None, **names: Any) -> Obj:
    """The definition of ``Widget`` in a group."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", **names},
            "versions": versions or [version("v1")],
        },
    }


def widget(crd: Obj, name: str, version_name: str = "", **spec: Any) -> Obj:
    """An instance of a definition."""
    chosen = version_name or crd["spec"]["versions"][0]["name"]
    return {
        "apiVersion": f"{crd['spec']['group']}/{chosen}",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 1, **spec},
    }


def widgets(crd: Obj, namespace: str = "", version_name: str = "") -> str:
    """The collection's path."""
    chosen = version_name or crd["spec"]["versions"][0]["name"]
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{crd['spec']['group']}/{chosen}{scope}/widgets"
