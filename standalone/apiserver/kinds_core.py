"""The kinds every cluster has, as a table: what the embedded API serves without any CustomResourceDefinition.

Read by ``kinds_registry`` once at start. Their schemas, defaults and printer columns are in ``schema`` and
``tables``; their special behaviour (pods, namespaces, definitions) is in the handlers of those names.
Left out: kinds that need controllers nobody here runs (CertificateSigningRequest, FlowSchema, ...).

Invariant: one row a served version; the short names are kubectl's.
"""

from __future__ import annotations

from standalone.apiserver.kinds import VERBS, Kind, ScalePaths

ALL = ("all",)
STATUS = ("status",)
SCALED = ("status", "scale")
_SELECTED = ScalePaths(selector=".spec.selector")
_CREATE_ONLY = ("create",)


def _kind(
    group_version: str,
    kind: str,
    plural: str,
    *,
    namespaced: bool = True,
    short: str = "",
    categories: tuple[str, ...] = (),
    subresources: tuple[str, ...] = (),
    storage: str = "",
    served: tuple[str, ...] = (),
    verbs: tuple[str, ...] = VERBS,
) -> Kind:
    group, _, version = group_version.rpartition("/")
    return Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        short_names=tuple(short.split()),
        categories=categories,
        subresources=subresources,
        storage_version=storage,
        served_versions=served,
        scale=_SELECTED if "scale" in subresources else None,
        verbs=verbs,
    )


POD_SUBRESOURCES = ("status", "log", "eviction", "binding", "ephemeralcontainers")

CORE: tuple[Kind, ...] = (
    _kind("v1", "Namespace", "namespaces", namespaced=False, short="ns", subresources=("status", "finalize")),
    _kind("v1", "Node", "nodes", namespaced=False, short="no", subresources=STATUS),
    _kind("v1", "Pod", "pods", short="po", categories=ALL, subresources=POD_SUBRESOURCES),
    _kind("v1", "Service", "services", short="svc", categories=ALL, subresources=STATUS),
    _kind("v1", "Endpoints", "endpoints", short="ep"),
    _kind("v1", "ConfigMap", "configmaps", short="cm"),
    _kind("v1", "Secret", "secrets"),
    _kind("v1", "ServiceAccount", "serviceaccounts", short="sa", subresources=("token",)),
    _kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", short="pvc", subresources=STATUS),
    _kind("v1", "PersistentVolume", "persistentvolumes", namespaced=False, short="pv", subresources=STATUS),
    _kind("v1", "Event", "events", short="ev"),
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
    _kind("networking.k8s.io/v1", "IngressClass", "ingressclasses", namespaced=False),
    _kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
    _kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    _kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False),
    _kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False, short="sc"),
    _kind("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False, short="pc"),
    _kind(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        namespaced=False,
        categories=("api-extensions",),
    ),
    _kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        namespaced=False,
        categories=("api-extensions",),
    ),
    _kind(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        namespaced=False,
        short="crd crds",
        categories=("api-extensions",),
        subresources=STATUS,
    ),
    # Questions, not objects: answered by ``handlers_reviews`` and never stored.
    _kind(
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        namespaced=False,
        verbs=_CREATE_ONLY,
    ),
    _kind(
        "authorization.k8s.io/v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        namespaced=False,
        verbs=_CREATE_ONLY,
    ),
    _kind(
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        namespaced=False,
        verbs=_CREATE_ONLY,
    ),
    _kind(
        "authorization.k8s.io/v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=_CREATE_ONLY
    ),
    _kind(
        "authentication.k8s.io/v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        namespaced=False,
        verbs=_CREATE_ONLY,
    ),
    _kind("authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False, verbs=_CREATE_ONLY),
)

REVIEW_GROUPS = ("authorization.k8s.io", "authentication.k8s.io")
CRD_RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"
MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"
