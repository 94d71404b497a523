"""The kinds that Serving on one machine reads and writes, by their address."""

from __future__ import annotations

from typing import Any

from wakeful.kit.kube import CONFIGMAPS, DEPLOYMENTS, PODS, SERVICES, Resource

KSERVICES = Resource("serving.knative.dev", "v1", "services")
CONFIGURATIONS = Resource("serving.knative.dev", "v1", "configurations")
REVISIONS = Resource("serving.knative.dev", "v1", "revisions")
ROUTES = Resource("serving.knative.dev", "v1", "routes")
DOMAIN_MAPPINGS = Resource("serving.knative.dev", "v1beta1", "domainmappings")
AUTOSCALERS = Resource("autoscaling.internal.knative.dev", "v1alpha1", "podautoscalers")
INGRESSES = Resource("networking.internal.knative.dev", "v1alpha1", "ingresses")

KINDS: dict[Resource, str] = {
    KSERVICES: "Service",
    CONFIGURATIONS: "Configuration",
    REVISIONS: "Revision",
    ROUTES: "Route",
    DOMAIN_MAPPINGS: "DomainMapping",
    AUTOSCALERS: "PodAutoscaler",
    INGRESSES: "Ingress",
    DEPLOYMENTS: "Deployment",
    PODS: "Pod",
    SERVICES: "Service",
    CONFIGMAPS: "ConfigMap",
}

Key = tuple[str, str]
"""(namespace, name)."""


def owner_reference(resource: Resource, owner: dict[str, Any]) -> dict[str, Any]:
    """The controller reference of a child of ``owner``."""
    metadata = owner["metadata"]
    return {
        "apiVersion": resource.api_version,
        "kind": KINDS[resource],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def head(resource: Resource, owner: dict[str, Any] | None, namespace: str, name: str) -> dict[str, Any]:
    """A new object of ``resource`` in ``namespace``; set the owner with ``owner_reference``."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": resource.api_version, "kind": KINDS[resource], "metadata": metadata}
