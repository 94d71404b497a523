"""The kinds every cluster has, as a table: what the embedded API serves without any CustomResourceDefinition.

Read by ``kinds_registry`` once at start. Their schemas, defaults and printer columns are in ``schema`` and
``tables``; their special behaviour (pods, namespaces, definitions) is in the handlers of those names.
Left out: kinds that need controllers nobody here runs (CertificateSigningRequest, FlowSchema, ...).

Invariant: one row a served version; the short names are kubectl's.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from standalone.apiserver.kinds import VERBS, Kind, ScalePaths

ALL = ("all",)
STATUS = ("status",)
SCALED = ("status", "scale")
_SELECTED = ScalePaths(selector=".spec.selector")


def _kind(
    group_version: str,
    kind: str,
    plural: str,
    *,
    short: str = "",
    categories: tuple[str, ...] = (),
    subresources: tuple[str, ...] = (),
) -> Kind:
    """A row of a namespaced kind."""
    group, _, version = group_version.rpartition("/")
    return Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=True,
        short_names=tuple(short.split()),
        categories=categories,
        subresources=subresources,
        scale=_SELECTED if "scale" in subresources else None,
    )


def _wide(*names: str, **more: Any) -> Kind:
    """A row of a cluster-scoped kind."""
    return dataclasses.replace(_kind(*names, **more), namespaced=False)


def _namespace() -> Kind:
    """Namespaces are deleted one by one only."""
    row = _wide("v1", "Namespace", "namespaces", short="ns", subresources=("status", "finalize"))
    return dataclasses.replace(row, verbs=tuple(verb for verb in VERBS if verb != "deletecollection"))


def _review(group: str, kind: str, namespaced: bool = False) -> Kind:
    """A question that is answered by ``handlers_reviews`` and never stored."""
    row = _kind(f"{group}.k8s.io/v1", kind, f"{kind.lower()}s")
    return dataclasses.replace(row, namespaced=namespaced, verbs=("create",))


POD_SUBRESOURCES = ("status", "log", "eviction", "binding")

CORE: tuple[Kind, ...] = (
    _namespace(),
    _wide("v1", "Node", "nodes", short="no", subresources=STATUS),
    _kind("v1", "Pod", "pods", short="po", categories=ALL, subresources=POD_SUBRESOURCES),
    _kind("v1", "Service", "services", short="svc", categories=ALL, subresources=STATUS),
    dataclasses.replace(
        _kind("v1", "Endpoints", "endpoints", short="ep"),
        deprecated_warning="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
    _kind("v1", "ConfigMap", "configmaps", short="cm"),
    _kind("v1", "Secret", "secrets"),
    _kind("v1", "ServiceAccount", "serviceaccounts", short="sa", subresources=("token",)),
    _kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", short="pvc", subresources=STATUS),
    _wide("v1", "PersistentVolume", "persistentvolumes", short="pv", subresources=STATUS),
    _kind("v1", "Event", "events", short="ev"),
    _kind("v1", "PodTemplate", "podtemplates"),
    _kind(
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        short="rc",
        categories=ALL,
        subresources=SCALED,
    ),
    _kind("v1", "ResourceQuota", "resourcequotas", short="quota", subresources=STATUS),
    _kind("v1", "LimitRange", "limitranges", short="limits"),
    _kind("events.k8s.io/v1", "Event", "events", short="ev"),
    _kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    _kind("coordination.k8s.io/v1", "Lease", "leases"),
    _kind("apps/v1", "Deployment", "deployments", short="deploy", categories=ALL, subresources=SCALED),
    _kind("apps/v1", "ReplicaSet", "replicasets", short="rs", categories=ALL, subresources=SCALED),
    _kind("apps/v1", "StatefulSet", "statefulsets", short="sts", categories=ALL, subresources=SCALED),
    _kind("apps/v1", "DaemonSet", "daemonsets", short="ds", categories=ALL, subresources=STATUS),
    _kind("apps/v1", "ControllerRevision", "controllerrevisions"),
    _kind("batch/v1", "Job", "jobs", categories=ALL, subresources=STATUS),
    _kind("batch/v1", "CronJob", "cronjobs", short="cj", categories=ALL, subresources=STATUS),
    _kind(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        short="hpa",
        categories=ALL,
        subresources=STATUS,
    ),
    _kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", short="pdb", subresources=STATUS),
    _kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", short="netpol"),
    _kind("networking.k8s.io/v1", "Ingress", "ingresses", short="ing", subresources=STATUS),
    _wide("networking.k8s.io/v1", "IngressClass", "ingressclasses"),
    _kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
    _kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    _wide("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
    _wide("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings"),
    _wide("storage.k8s.io/v1", "StorageClass", "storageclasses", short="sc"),
    _wide("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", short="pc"),
    _wide(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        categories=("api-extensions",),
    ),
    _wide(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        categories=("api-extensions",),
    ),
    _wide(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        short="crd crds",
        categories=("api-extensions",),
        subresources=STATUS,
    ),
    _review("authorization", "SelfSubjectAccessReview"),
    _review("authorization", "SelfSubjectRulesReview"),
    _review("authorization", "SubjectAccessReview"),
    _review("authorization", "LocalSubjectAccessReview", namespaced=True),
    _review("authentication", "SelfSubjectReview"),
    _review("authentication", "TokenReview"),
)

REVIEW_GROUPS = ("authorization.k8s.io", "authentication.k8s.io")
CRD_RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"
MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"
