"""The parts of built-in objects that are there before anybody writes them, as they are in Kubernetes' own types.

Called by the write path when a built-in object is created: who creates it owns what is in these parts, not the parts
themselves, which is what ``metadata.managedFields`` of a real API server shows. Facts seen in its answers
(``tests/contracts/cluster/recorded``). Left out: values that are shown although nobody gave them (``core_defaults``).

Invariant: shared, never changed.
"""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]
_TEMPLATE: Obj = {"metadata": {}, "spec": {"containers": []}}
_JOB: Obj = {"template": _TEMPLATE}
_ZERO: dict[tuple[str, str], Obj] = {
    ("", "Event"): {"source": {}, "reportingComponent": "", "reportingInstance": ""},
    ("", "Pod"): {"spec": {"containers": []}},
    ("", "Service"): {"spec": {}},
    ("", "Namespace"): {"spec": {}},
    ("", "Node"): {"spec": {}},
    ("", "PersistentVolumeClaim"): {"spec": {"resources": {}}},
    ("", "PersistentVolume"): {"spec": {}},
    ("", "PodTemplate"): {"template": _TEMPLATE},
    ("", "ReplicationController"): {"spec": {}},
    ("", "ResourceQuota"): {"spec": {}},
    ("", "LimitRange"): {"spec": {}},
    ("coordination.k8s.io", "Lease"): {"spec": {}},
    ("apps", "Deployment"): {"spec": {"template": _TEMPLATE, "strategy": {}}},
    ("apps", "ReplicaSet"): {"spec": {"template": _TEMPLATE}},
    ("apps", "DaemonSet"): {"spec": {"template": _TEMPLATE, "updateStrategy": {}}},
    ("apps", "StatefulSet"): {"spec": {"template": _TEMPLATE, "updateStrategy": {}}},
    ("batch", "Job"): {"spec": _JOB},
    ("batch", "CronJob"): {"spec": {"jobTemplate": {"metadata": {}, "spec": _JOB}}},
    ("autoscaling", "HorizontalPodAutoscaler"): {"spec": {"scaleTargetRef": {}}},
    ("policy", "PodDisruptionBudget"): {"spec": {}},
    ("networking.k8s.io", "NetworkPolicy"): {"spec": {"podSelector": {}}},
    ("networking.k8s.io", "Ingress"): {"spec": {}},
    ("networking.k8s.io", "IngressClass"): {"spec": {}},
    ("apiextensions.k8s.io", "CustomResourceDefinition"): {"spec": {"names": {}}},
}


def zero(group: str, kind: str) -> Obj:
    """What an object of a built-in kind is before it is created, without its type and metadata."""
    return _ZERO.get((group, kind), {})
